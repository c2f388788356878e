# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# The part that includes torch, and what is installed: the Python module and torch-remote-executor.

include_guard()

# Each torch header costs seconds a file. These few are what nearly every file needs; torch/extension.h, which pulls in
# all of them, would cost more than it saves.
set(precompile_source ${CMAKE_CURRENT_BINARY_DIR}/torch_precompiled.cpp)
file(CONFIGURE OUTPUT ${precompile_source} CONTENT "// A library needs one source.\n")
add_library(torch_remote_precompiled OBJECT ${precompile_source})
target_link_libraries(torch_remote_precompiled PRIVATE torch_remote_options torch_remote::torch)
target_precompile_headers(torch_remote_precompiled PRIVATE
  <ATen/core/Tensor.h> <ATen/core/dispatch/Dispatcher.h> <torch/library.h> <ATen/EmptyTensor.h>)

# The C++ meta functions by operator name, read from torch's own headers, so that they are this torch version's.
set(generator ${PROJECT_SOURCE_DIR}/cmake/generate_meta_functions.py)
set(generated_dir ${CMAKE_CURRENT_BINARY_DIR}/generated)
foreach(part RANGE 3)
  list(APPEND generated ${generated_dir}/meta_functions_${part}.cpp)
endforeach()
add_custom_command(
  OUTPUT ${generated}
  COMMAND ${Python_EXECUTABLE} ${generator} ${TORCH_INCLUDE_DIR} ${generated_dir}
  DEPENDS ${generator} ${TORCH_INCLUDE_DIR}/../version.py
  VERBATIM)

torch_remote_library(torch_remote_libtorch_executor FOLDER core/executor/libtorch
  LINK torch_remote_executor_core torch_remote::torch)
torch_remote_library(torch_remote_random_kernels FOLDER emulator/random/kernels
  LINK torch_remote_random torch_remote_libtorch_executor)
target_compile_options(torch_remote_random_kernels PRIVATE -ffp-contract=off)
# An object library: its registrations run when it is loaded, and nothing refers to them by name, so that a linker would
# leave them out of a static one.
torch_remote_library(torch_remote_client OBJECT FOLDER core/client SOURCES ${generated}
  LINK torch_remote_session torch_remote::torch)

# Kineto's headers include one another by their bare names, and use fmt, which no library of torch's gives away.
set_source_files_properties(core/client/kineto_profiler.cpp PROPERTIES
  COMPILE_OPTIONS "-isystem${TORCH_INCLUDE_DIR}/kineto" COMPILE_DEFINITIONS FMT_HEADER_ONLY)

torch_remote_programs(libtorch_executor FOLDER core/executor/libtorch ONE_PROCESS PCH torch_remote_precompiled
  LINK torch_remote_libtorch_executor torch_remote_emulator)
torch_remote_programs(random_kernels FOLDER emulator/random/kernels ONE_PROCESS PCH torch_remote_precompiled
  LINK torch_remote_random_kernels)
torch_remote_programs(client FOLDER core/client ONE_PROCESS PCH torch_remote_precompiled
  LINK torch_remote_client torch_remote_libtorch_executor torch_remote_emulator)

file(GLOB module_sources CONFIGURE_DEPENDS python/torch_remote/*.cpp)
# CPython's internal headers are C, and a precompiled C++ header can't be reused for C.
add_library(torch_remote_interpreter_frames OBJECT python/torch_remote/interpreter_frames.c)
target_include_directories(torch_remote_interpreter_frames PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(torch_remote_interpreter_frames PRIVATE Python::Module)
set_target_properties(torch_remote_interpreter_frames PROPERTIES POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)
Python_add_library(_C MODULE WITH_SOABI ${module_sources})
target_link_libraries(_C PRIVATE torch_remote_interpreter_frames torch_remote_client torch_remote_libtorch_executor torch_remote_emulator
  torch_remote_random_kernels torch_remote::torch_python)

file(GLOB executor_sources CONFIGURE_DEPENDS core/executor/program/*.cpp)
add_executable(torch-remote-executor ${executor_sources})
target_link_libraries(torch-remote-executor PRIVATE torch_remote_libtorch_executor torch_remote_emulator
  torch_remote_random_kernels ${CMAKE_DL_LIBS})

include(Cuda)

if(TORCH_REMOTE_BUILD_TESTS)
  # Executors with defects, on which the conformance suite is tried out.
  torch_remote_library(torch_remote_mutants FOLDER conformance/mutants LINK torch_remote_executor_core)
  torch_remote_programs(mutants FOLDER conformance/mutants ONE_PROCESS PCH torch_remote_precompiled
    LINK torch_remote_mutants torch_remote_libtorch_executor)
  add_executable(mutant_executor conformance/mutants/main.cpp)
  target_link_libraries(mutant_executor PRIVATE torch_remote_mutants torch_remote_libtorch_executor)
  set_target_properties(mutant_executor PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endif()

foreach(target IN ITEMS _C torch-remote-executor)
  target_compile_definitions(${target} PRIVATE TORCH_REMOTE_VERSION="${PROJECT_VERSION}")
endforeach()
set_target_properties(torch_remote_libtorch_executor torch_remote_client _C torch-remote-executor PROPERTIES
  PRECOMPILE_HEADERS_REUSE_FROM torch_remote_precompiled)

# A build fits one torch version; Python compares this before it loads the module.
set(BUILD_INFO [["""What this torch-remote was compiled for; written by the build."""

TORCH_VERSION = "@TORCH_VERSION@"
]])

if(APPLE)
  set(origin @loader_path)
else()
  set(origin $ORIGIN)
endif()
# Installed, torch_remote and torch are neighbours in one site-packages; in the build tree CMake sets torch's own path.
set_target_properties(_C PROPERTIES INSTALL_RPATH ${origin}/../torch/lib)
set_target_properties(torch-remote-executor PROPERTIES INSTALL_RPATH ${origin}/../../torch/lib)

set(package_dir ${CMAKE_CURRENT_BINARY_DIR}/torch_remote)
set(program_dir ${CMAKE_CURRENT_BINARY_DIR}/bin)
if(TORCH_REMOTE_INPLACE)
  set(package_dir ${PROJECT_SOURCE_DIR}/python/torch_remote)
  set(program_dir ${package_dir}/bin)
endif()
set_target_properties(_C PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${package_dir})
set_target_properties(torch-remote-executor PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${program_dir})
file(CONFIGURE OUTPUT ${package_dir}/_build_info.py CONTENT "${BUILD_INFO}" @ONLY)

install(TARGETS _C LIBRARY DESTINATION torch_remote)
install(TARGETS torch-remote-executor RUNTIME DESTINATION torch_remote/bin)
install(FILES ${package_dir}/_build_info.py DESTINATION torch_remote)

if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  # Some compilers link their C++ library statically, whole or in part (Red Hat's toolsets, for one). Its names must not
  # be visible from outside: ZeroMQ's library, looked up behind the module, would take half of them from here.
  foreach(target IN ITEMS _C torch-remote-executor torch_remote_cuda)
    if(TARGET ${target})
      target_link_options(${target} PRIVATE LINKER:--exclude-libs,ALL)
    endif()
  endforeach()
endif()

if(TARGET torch_remote_cuda)
  # The program looks for it beside itself.
  set_target_properties(torch_remote_cuda PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${program_dir}
    INSTALL_RPATH ${origin}/../../torch/lib PRECOMPILE_HEADERS_REUSE_FROM torch_remote_precompiled)
  install(TARGETS torch_remote_cuda LIBRARY DESTINATION torch_remote/bin)
endif()
