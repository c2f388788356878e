// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) in the layout
// of CUDA's kernels: the key is the seed, the high half of the counter the number of a GPU's
// thread, the low half the number of a draw of that thread. Each draw has four numbers of 32 bits.
//
// Pure functions; any thread may call them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace torch_remote::emulator::random {

using Bits4 = std::array<std::uint32_t, 4>;

inline constexpr int kPhiloxRounds = 10;

// One block of the cipher. `key` is the seed; `draw` and `thread` are the counter's halves.
template <int kRounds = kPhiloxRounds>
constexpr Bits4 philox(std::uint64_t key, std::uint64_t draw, std::uint64_t thread) {
  constexpr std::uint64_t kMultiplierA = 0xD2511F53, kMultiplierB = 0xCD9E8D57;
  constexpr std::uint32_t kWeylA = 0x9E3779B9, kWeylB = 0xBB67AE85;
  auto key_a = static_cast<std::uint32_t>(key), key_b = static_cast<std::uint32_t>(key >> 32);
  Bits4 state{static_cast<std::uint32_t>(draw), static_cast<std::uint32_t>(draw >> 32),
              static_cast<std::uint32_t>(thread), static_cast<std::uint32_t>(thread >> 32)};
  for (int round = 0; round < kRounds; ++round, key_a += kWeylA, key_b += kWeylB) {
    const std::uint64_t a = kMultiplierA * state[0], b = kMultiplierB * state[2];
    state = {static_cast<std::uint32_t>(b >> 32) ^ state[1] ^ key_a, static_cast<std::uint32_t>(b),
             static_cast<std::uint32_t>(a >> 32) ^ state[3] ^ key_b, static_cast<std::uint32_t>(a)};
  }
  return state;
}

// The longest run of threads that philox_threads() takes: what its callers keep on their stacks.
inline constexpr std::size_t kRunMax = 512;

// The same draw of `count` threads in a row, at most kRunMax: bits[i][k] is number i of thread
// first_thread + k.
using RunBits = std::array<std::array<std::uint32_t, kRunMax>, 4>;
void philox_threads(std::uint64_t key, std::uint64_t draw, std::uint64_t first_thread,
                    std::size_t count, RunBits& bits);

// The numbers of one thread in a row, as a kernel takes them that keeps cuRAND's generator:
// curand_init(seed, thread, offset) and then one number after the other.
class ThreadNumbers {
 public:
  ThreadNumbers(std::uint64_t seed, std::uint64_t thread, std::uint64_t offset)
      : seed_(seed), thread_(thread), draw_(offset / 4), position_(offset % 4) {}

  // Counted on over the counter's 64 low bits, as cuRAND does.
  std::uint32_t next() {
    if (!is_known_) {
      bits_ = philox(seed_, draw_, thread_);
      is_known_ = true;
    }
    const std::uint32_t number = bits_[position_];
    if (++position_ == 4) {
      position_ = 0;
      is_known_ = false;
      if (++draw_ == 0) ++thread_;
    }
    return number;
  }
  Bits4 next4() { return {next(), next(), next(), next()}; }

 private:
  std::uint64_t seed_;
  std::uint64_t thread_;
  std::uint64_t draw_;
  std::size_t position_;
  Bits4 bits_{};
  bool is_known_ = false;
};

}  // namespace torch_remote::emulator::random
