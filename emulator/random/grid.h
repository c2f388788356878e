// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Which of a GPU's threads draws which element of a tensor. PyTorch starts its random kernels with
// as many blocks as the tensor needs and the GPU can hold at once, so that the numbers depend on
// the GPU.
#pragma once

#include <algorithm>
#include <cstdint>

#include "emulator/gpu_model.h"

namespace torch_remote::emulator::random {

inline constexpr std::uint64_t kThreadsPerBlock = 256;

// What of a GPU decides about random numbers.
struct Card {
  std::uint64_t multiprocessor_count = 0;
  std::uint64_t max_threads_per_multiprocessor = 0;
  bool has_flash_attention = false;  // else attention has another kernel, which drops others

  constexpr std::uint64_t block_count_max() const {
    return multiprocessor_count * (max_threads_per_multiprocessor / kThreadsPerBlock);
  }
};

constexpr Card card_of(const GpuModel& model) {
  return {static_cast<std::uint64_t>(model.multiprocessor_count),
          static_cast<std::uint64_t>(model.max_threads_per_multiprocessor),
          model.capability_major >= 8};
}

// How a grid of threads that walks over the tensor covers it. Element e is number
// e % (threads * per_draw) / threads of draw e / (threads * per_draw) of thread e % threads.
struct Cover {
  std::uint64_t threads = 0;
  std::uint64_t per_draw = 0;  // numbers that a thread takes of one draw: 4, or 2 of 64 bits
  std::uint64_t draws = 0;     // of each thread

  // What the generator's offset advances by.
  constexpr std::uint64_t offset_increment() const { return draws * 4; }
};

// element_count is at least 1; per_draw at least 1.
constexpr Cover cover(const Card& card, std::uint64_t element_count, std::uint64_t per_draw) {
  const std::uint64_t blocks =
      std::min((element_count + kThreadsPerBlock - 1) / kThreadsPerBlock, card.block_count_max());
  const std::uint64_t threads = blocks * kThreadsPerBlock;
  return {threads, per_draw, (element_count - 1) / (threads * per_draw) + 1};
}

// A generator's offset stays a multiple of four: kernels that draw by themselves count in fours.
constexpr std::uint64_t round_up_to_four(std::uint64_t increment) {
  return (increment + 3) / 4 * 4;
}

}  // namespace torch_remote::emulator::random
