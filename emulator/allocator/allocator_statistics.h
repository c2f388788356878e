// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The counters of PyTorch's caching allocator, as torch.cuda.memory_stats() has them, and their
// flat names. Counts of blocks and segments, and sums in bytes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace torch_remote::emulator {

// `allocated` and `freed` only ever grow, until they are reset. As in PyTorch, `current` may become
// negative where a setting that decides what is counted changes while a program runs.
struct Counter {
  std::int64_t current = 0;
  std::int64_t peak = 0;
  std::int64_t allocated = 0;
  std::int64_t freed = 0;

  void increase(std::uint64_t amount) {
    current += static_cast<std::int64_t>(amount);
    allocated += static_cast<std::int64_t>(amount);
    peak = std::max(peak, current);
  }
  void decrease(std::uint64_t amount) {
    current -= static_cast<std::int64_t>(amount);
    freed += static_cast<std::int64_t>(amount);
  }
  void change(std::int64_t amount) {
    if (amount > 0) increase(static_cast<std::uint64_t>(amount));
    if (amount < 0) decrease(static_cast<std::uint64_t>(-amount));
  }
  void reset_peak() { peak = current; }
  void reset_accumulated() { allocated = freed = 0; }

  bool operator==(const Counter&) const = default;
};

// A counter of all memory, and apart for both pools.
struct PoolCounter {
  Counter all;
  std::array<Counter, 2> pools;  // small, large

  void increase(std::size_t pool, std::uint64_t amount) {
    all.increase(amount);
    pools[pool].increase(amount);
  }
  void decrease(std::size_t pool, std::uint64_t amount) {
    all.decrease(amount);
    pools[pool].decrease(amount);
  }
  void change(std::size_t pool, std::int64_t amount) {
    all.change(amount);
    pools[pool].change(amount);
  }

  bool operator==(const PoolCounter&) const = default;
};

struct AllocatorStatistics {
  PoolCounter allocation;  // live requests, a count
  PoolCounter segment;     // pieces of memory had from the device, a count
  PoolCounter active;      // blocks allocated, or waiting for another stream's event
  PoolCounter inactive_split;
  PoolCounter allocated_bytes;
  PoolCounter reserved_bytes;
  PoolCounter active_bytes;
  PoolCounter inactive_split_bytes;
  PoolCounter requested_bytes;  // as asked for, not rounded
  Counter oversize_allocations;
  Counter oversize_segments;
  std::int64_t num_alloc_retries = 0;
  std::int64_t num_ooms = 0;
  std::int64_t num_sync_all_streams = 0;
  std::int64_t num_device_alloc = 0;
  std::int64_t num_device_free = 0;
  std::int64_t num_oom_rejections = 0;
  std::int64_t max_split_size = -1;  // bytes; -1 where every block may be split

  // As torch.cuda.reset_peak_memory_stats(): every peak becomes the present value.
  void reset_peak();
  // As torch.cuda.reset_accumulated_memory_stats(): sums and counts of events start from 0.
  void reset_accumulated();

  bool operator==(const AllocatorStatistics&) const = default;
};

// All of them under PyTorch's flat names ("allocated_bytes.all.peak"), in a fixed order.
std::vector<std::pair<std::string, std::int64_t>> flat_statistics(
    const AllocatorStatistics& statistics);

}  // namespace torch_remote::emulator
