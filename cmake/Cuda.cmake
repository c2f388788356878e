# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# The plugin for --device cuda, torch_remote_cuda.so, where torch is a CUDA build and CUDA's headers are found. They come
# from beside torch, where its wheel's own dependencies are, or from a toolkit; a compiler for CUDA is not needed.

include_guard()

# cuda_found(<folder with cuda_runtime_api.h> <major version>): sets cuda_include_dir and cuda_runtime in the caller if it
# is CUDA of that version: the layout of what the runtime tells about a GPU is another one in each.
function(cuda_found folder major)
  # The wheel of the runtime has its own headers, but not those below crt, which it includes.
  if(NOT EXISTS ${folder}/cuda_runtime_api.h OR NOT EXISTS ${folder}/crt/host_defines.h)
    return()
  endif()
  file(STRINGS ${folder}/cuda_runtime_api.h version REGEX "^#define CUDART_VERSION +${major}[0-9][0-9][0-9]$")
  cmake_path(GET folder PARENT_PATH root)
  file(GLOB runtime ${root}/lib64/libcudart.so* ${root}/lib/libcudart.so* ${root}/lib/*/libcudart.so*)
  if(version AND runtime)
    list(GET runtime 0 runtime)
    set(cuda_include_dir ${folder} PARENT_SCOPE)
    set(cuda_runtime ${runtime} PARENT_SCOPE)
  endif()
endfunction()

set(severity STATUS)
if(TORCH_REMOTE_REQUIRE_CUDA)
  set(severity FATAL_ERROR)
endif()

if(NOT EXISTS ${torch_dir}/lib/libtorch_cuda.so)
  message(${severity} "executor for CUDA: no, torch ${TORCH_VERSION} is a build without CUDA")
  return()
endif()

file(STRINGS ${torch_dir}/version.py cuda_line REGEX "^cuda.* = '[0-9]+\\.")
string(REGEX REPLACE ".* = '([0-9]+)\\..*" "\\1" cuda_major "${cuda_line}")
set(cuda_include_dir)
foreach(root IN ITEMS ${torch_dir}/../nvidia/cu${cuda_major} $ENV{CUDA_HOME} $ENV{CUDA_PATH} /usr/local/cuda /usr)
  if(NOT cuda_include_dir)
    cmake_path(NORMAL_PATH root)
    cuda_found(${root}/include ${cuda_major})
  endif()
endforeach()
if(NOT cuda_include_dir)
  message(${severity} "executor for CUDA: no, though torch ${TORCH_VERSION} is a build for it: there are no headers "
    "and runtime of CUDA ${cuda_major} (pip install nvidia-cuda-runtime nvidia-cuda-crt, or set CUDA_HOME to a toolkit)")
  return()
endif()
message(STATUS "executor for CUDA: yes, with the headers in ${cuda_include_dir}")

foreach(library IN ITEMS c10_cuda torch_cuda)
  add_library(torch_remote::lib${library} SHARED IMPORTED)
  set_target_properties(torch_remote::lib${library} PROPERTIES IMPORTED_LOCATION ${torch_dir}/lib/lib${library}.so)
endforeach()

torch_remote_library(torch_remote_cuda MODULE FOLDER backends/cuda_direct LINK torch_remote_libtorch_executor)
target_include_directories(torch_remote_cuda SYSTEM PRIVATE ${cuda_include_dir})
# Nothing here calls PyTorch's CUDA library: it registers itself when it is loaded, so it has to be named all the same.
target_link_options(torch_remote_cuda PRIVATE LINKER:--no-as-needed)
target_link_libraries(torch_remote_cuda PRIVATE
  torch_remote::libtorch_cuda torch_remote::libc10_cuda torch_remote::libtorch ${cuda_runtime})
