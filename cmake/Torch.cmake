# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# libtorch as imported targets, from the folder of the torch that the Python interpreter has:
#   torch_remote::torch         the C++ library
#   torch_remote::torch_python  its Python half, with Python's and pybind11's headers
# torch's own find_package(Torch) is not used: with a CUDA wheel it fails on a machine without the CUDA toolkit.

include_guard()

find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)

set(torch_dir ${TORCH_REMOTE_TORCH_DIR})
if(NOT torch_dir)
  # Looks the folder up without importing torch, which would take seconds.
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c
      "import importlib.util; print(importlib.util.find_spec('torch').submodule_search_locations[0])"
    OUTPUT_VARIABLE torch_dir
    OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_QUIET)
endif()
if(NOT EXISTS "${torch_dir}/version.py")
  message(FATAL_ERROR "${Python_EXECUTABLE} has no torch. Install it there: pip install 'torch>=2.11'")
endif()
# A torch of another version makes another build.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${torch_dir}/version.py)

file(STRINGS ${torch_dir}/version.py torch_version_line REGEX "^__version__ = ")
string(REGEX REPLACE "^__version__ = '([^']*)'.*" "\\1" TORCH_VERSION "${torch_version_line}")
string(REGEX MATCH "^[0-9.]+" torch_release "${TORCH_VERSION}")
if(torch_release VERSION_LESS 2.11)
  message(FATAL_ERROR "torch ${TORCH_VERSION} in ${torch_dir} is too old: torch-remote needs torch 2.11 or newer")
endif()
message(STATUS "torch ${TORCH_VERSION}: ${torch_dir}")

set(TORCH_INCLUDE_DIR ${torch_dir}/include)
foreach(library IN ITEMS c10 torch_cpu torch torch_python)
  add_library(torch_remote::lib${library} SHARED IMPORTED)
  set_target_properties(torch_remote::lib${library} PROPERTIES
    IMPORTED_LOCATION ${torch_dir}/lib/${CMAKE_SHARED_LIBRARY_PREFIX}${library}${CMAKE_SHARED_LIBRARY_SUFFIX})
endforeach()

# An imported target's include folders are system folders: our warnings stop at torch's headers.
# libtorch itself is not among the libraries: it has nothing but the names of all the others, so that a program linked
# with a CUDA build's would load CUDA's gigabyte, or fail without it.
add_library(torch_remote::torch INTERFACE IMPORTED)
target_include_directories(torch_remote::torch INTERFACE
  ${TORCH_INCLUDE_DIR} ${TORCH_INCLUDE_DIR}/torch/csrc/api/include)
target_link_libraries(torch_remote::torch INTERFACE torch_remote::libtorch_cpu torch_remote::libc10)
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  # A CUDA wheel's libraries find CUDA's at run time, through paths of their own that the linker doesn't follow.
  target_link_options(torch_remote::torch INTERFACE LINKER:--allow-shlib-undefined)
endif()

# pybind11 is the copy among torch's headers, not pip's: modules share registered types only where the version of
# pybind11's internals is equal, and it differs between the pybind11 of a torch release and a newer one from pip
# (torch 2.13 has 11, pybind11 3.1 has 12).
add_library(torch_remote::torch_python INTERFACE IMPORTED)
target_link_libraries(torch_remote::torch_python INTERFACE
  torch_remote::torch torch_remote::libtorch_python Python::Module)
