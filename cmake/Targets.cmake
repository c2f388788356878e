# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# A folder's x.cpp make its library and its x_test.cpp one test program. Each x_benchmark.cpp is a program, so that its
# instructions can be counted alone, and each x_fuzz.cpp a fuzzer, which starts from the folder's golden files.

include_guard()

set(not_in_libraries "(_test|_benchmark|_fuzz)\\.cpp$|/main\\.cpp$")

# torch_remote_library(<name> FOLDER <folder> [OBJECT] [LINK <target>...] [SOURCES <generated file>...])
function(torch_remote_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "OBJECT" "FOLDER" "LINK;SOURCES")
  file(GLOB sources CONFIGURE_DEPENDS ${arg_FOLDER}/*.cpp)
  list(FILTER sources EXCLUDE REGEX ${not_in_libraries})
  set(type STATIC)
  if(arg_OBJECT)
    set(type OBJECT)
  endif()
  add_library(${name} ${type} ${sources} ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC torch_remote_options ${arg_LINK})
  if(TORCH_REMOTE_CLANG_TIDY)
    set_target_properties(${name} PROPERTIES CXX_CLANG_TIDY "${TORCH_REMOTE_CLANG_TIDY_PROGRAM};--quiet")
    set_source_files_properties(${sources} PROPERTIES OBJECT_DEPENDS ${PROJECT_SOURCE_DIR}/.clang-tidy)
  endif()
endfunction()

# torch_remote_programs(<name> FOLDER <folder> [ONE_PROCESS] [PCH <target>] LINK <target>...)
# ONE_PROCESS runs all cases of the test program in one process: for programs that take long to start.
function(torch_remote_programs name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "ONE_PROCESS" "FOLDER;PCH" "LINK")
  file(GLOB tests CONFIGURE_DEPENDS ${arg_FOLDER}/*_test.cpp)
  file(GLOB benchmarks CONFIGURE_DEPENDS ${arg_FOLDER}/*_benchmark.cpp)
  file(GLOB fuzzers CONFIGURE_DEPENDS ${arg_FOLDER}/*_fuzz.cpp)
  set(programs)

  if(TORCH_REMOTE_BUILD_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE ${arg_LINK} GTest::gmock GTest::gtest_main)
    list(APPEND programs ${name}_test)
    if(arg_ONE_PROCESS)
      add_test(NAME ${name}_test COMMAND ${name}_test)
      set_tests_properties(${name}_test PROPERTIES TIMEOUT 600)
    else()
      gtest_discover_tests(${name}_test TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 120)
    endif()
  endif()

  if(TORCH_REMOTE_BUILD_BENCHMARKS)
    foreach(source IN LISTS benchmarks)
      cmake_path(GET source STEM stem)
      set(benchmark ${name}_${stem})
      add_executable(${benchmark} ${source})
      target_link_libraries(${benchmark} PRIVATE ${arg_LINK} benchmark::benchmark_main)
      list(APPEND programs ${benchmark})
    endforeach()
  endif()

  if(TORCH_REMOTE_BUILD_TESTS AND TORCH_REMOTE_SANITIZE MATCHES "address" AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    file(GLOB golden LIST_DIRECTORIES true ${arg_FOLDER}/golden/*)
    foreach(source IN LISTS fuzzers)
      cmake_path(GET source STEM stem)
      set(fuzzer ${name}_${stem})
      add_executable(${fuzzer} ${source})
      target_link_libraries(${fuzzer} PRIVATE ${arg_LINK})
      target_link_options(${fuzzer} PRIVATE -fsanitize=fuzzer)
      list(APPEND programs ${fuzzer})
      # libFuzzer writes the inputs it finds into its first folder: the build tree's, which the next run goes on from.
      set(found ${CMAKE_CURRENT_BINARY_DIR}/corpus/${fuzzer})
      file(MAKE_DIRECTORY ${found})
      add_test(NAME ${fuzzer} COMMAND ${fuzzer} -max_total_time=10 -timeout=10 -rss_limit_mb=1024
        -artifact_prefix=${CMAKE_CURRENT_BINARY_DIR}/${fuzzer}- ${found} ${golden})
      set_tests_properties(${fuzzer} PROPERTIES TIMEOUT 120)
    endforeach()
  endif()

  if(programs)
    set_target_properties(${programs} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
    if(arg_PCH)
      set_target_properties(${programs} PROPERTIES PRECOMPILE_HEADERS_REUSE_FROM ${arg_PCH})
    endif()
  endif()
endfunction()
