# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# How our code is compiled and linked: language, warnings, sanitizers, compiler cache and linker.

include_guard()
include(CheckLinkerFlag)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

add_library(torch_remote_options INTERFACE)
target_include_directories(torch_remote_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(torch_remote_options INTERFACE
  # One spelling for libraries and programs, instead of -fPIC here and -fPIE there: the precompiled header fits only
  # code that is compiled with the same flags.
  -fPIC
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align
  # A designated initializer that leaves the rest at its defaults is meant to.
  -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(torch_remote_options INTERFACE
    # These follow values through inlined library code, and differ in their false positives from version to version;
    # a newer compiler's guess about a torch or standard header must not end a user's build.
    -Wno-error=array-bounds -Wno-error=free-nonheap-object -Wno-error=maybe-uninitialized -Wno-error=restrict
    -Wno-error=stringop-overflow -Wno-error=stringop-overread
    $<$<VERSION_GREATER_EQUAL:$<CXX_COMPILER_VERSION>,13>:-Wno-error=dangling-reference>)
endif()

if(TORCH_REMOTE_SANITIZE)
  set(sanitize -fsanitize=${TORCH_REMOTE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # Coverage for the fuzzers, in the libraries too; the programs that are fuzzers add libFuzzer's main.
    list(APPEND sanitize -fsanitize=fuzzer-no-link)
  endif()
  target_compile_options(torch_remote_options INTERFACE ${sanitize})
  target_link_options(torch_remote_options INTERFACE ${sanitize})
  target_compile_definitions(torch_remote_options INTERFACE _GLIBCXX_ASSERTIONS)
endif()

find_program(TORCH_REMOTE_CCACHE ccache)
if(TORCH_REMOTE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without this sloppiness ccache refuses every file that uses a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros ${TORCH_REMOTE_CCACHE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Keeps the precompiled header visible in the preprocessed text that ccache hashes.
    target_compile_options(torch_remote_options INTERFACE -fpch-preprocess)
  endif()
endif()

check_linker_flag(CXX -fuse-ld=mold TORCH_REMOTE_MOLD)
if(TORCH_REMOTE_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

if(TORCH_REMOTE_CLANG_TIDY)
  find_program(TORCH_REMOTE_CLANG_TIDY_PROGRAM clang-tidy HINTS ${PROJECT_SOURCE_DIR}/.venv/bin REQUIRED)
endif()
