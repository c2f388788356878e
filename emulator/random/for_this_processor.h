// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Loops that are compiled twice where that helps: for every processor of the architecture, and for
// those with the vectors of AVX2 and fused products. Which one runs is decided once.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define TORCH_REMOTE_HAS_AVX2 1

namespace torch_remote::emulator::random {

inline bool has_avx2() noexcept {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
}

}  // namespace torch_remote::emulator::random

// Defines void NAME PARAMETERS, which does NAME_loop ARGUMENTS: a function that is declared
// [[gnu::always_inline]] inline before.
#define TORCH_REMOTE_FOR_THIS_PROCESSOR(name, parameters, arguments)                 \
  namespace {                                                                        \
  [[gnu::target("avx2,fma")]] void name##_avx2 parameters { name##_loop arguments; } \
  void name##_baseline parameters { name##_loop arguments; }                         \
  const auto name##_chosen = has_avx2() ? &name##_avx2 : &name##_baseline;           \
  }                                                                                  \
  void name parameters { name##_chosen arguments; }

#else

#define TORCH_REMOTE_HAS_AVX2 0

#define TORCH_REMOTE_FOR_THIS_PROCESSOR(name, parameters, arguments) \
  void name parameters { name##_loop arguments; }

#endif
