// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Which probabilities the fused attention kernels of CUDA drop: pure functions of the seed, the
// offset and the place in [batch, heads, queries, keys].
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace torch_remote::emulator::random {

// Sizes are at least 1. A head is one of batch * heads matrices of queries * keys.
struct ScoresShape {
  std::int64_t head_count = 0;  // batch * heads
  std::int64_t query_count = 0;
  std::int64_t key_count = 0;

  std::size_t element_count() const {
    return static_cast<std::size_t>(head_count * query_count * key_count);
  }
};

// FlashAttention: each warp's lane has 16 bytes for its places in a block of 16 queries and 32
// keys. Writes 1 where a probability stays, else 0; the span has one element for each score.
void flash_kept(const ScoresShape& shape, std::uint64_t seed, std::uint64_t offset, double dropout,
                std::span<float> kept);
// What its offset advances by.
std::uint64_t flash_increment(const ScoresShape& shape);

// The memory-efficient kernel: one number after the other, by the places' order.
void efficient_kept(const ScoresShape& shape, std::uint64_t seed, std::uint64_t offset,
                    double dropout, std::span<float> kept);
std::uint64_t efficient_increment(const ScoresShape& shape);

}  // namespace torch_remote::emulator::random
