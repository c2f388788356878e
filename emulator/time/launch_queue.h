// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a stream was given and the GPU hasn't done yet. CUDA takes 1024 launches ahead for each
// stream; whoever launches more waits. (An H100 takes 1,022 more behind a kernel that runs; in four
// streams 4,084.)
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

#include "emulator/time/clock_costs.h"

namespace torch_remote::emulator {

inline constexpr std::uint32_t kQueuedKernelsMax = 1024;

// Copies of a queue are independent of it.
class LaunchQueue {
 public:
  LaunchQueue() : entries_(std::make_unique<Entries>()) {}
  LaunchQueue(const LaunchQueue& other) : LaunchQueue() { *this = other; }
  LaunchQueue(LaunchQueue&&) noexcept = default;
  LaunchQueue& operator=(const LaunchQueue& other) {
    if (this == &other) return *this;
    *entries_ = *other.entries_;
    first_ = other.first_;
    end_ = other.end_;
    kernels_ = other.kernels_;
    return *this;
  }
  LaunchQueue& operator=(LaunchQueue&&) noexcept = default;
  ~LaunchQueue() = default;

  // When there is room for so many kernels, for someone who asks at now_ns.
  Nanoseconds wait_for_room(std::uint32_t kernel_count, Nanoseconds now_ns) {
    while (first_ != end_) {
      const Entry& oldest = at(first_);
      if (oldest.end_ns > now_ns) {
        if (kernels_ + kernel_count <= kQueuedKernelsMax && end_ - first_ < kQueuedKernelsMax)
          return now_ns;
        now_ns = oldest.end_ns;
      }
      kernels_ -= oldest.kernel_count;
      ++first_;
    }
    first_ = end_ = 0;  // stays in few cache lines while the GPU is not behind
    return now_ns;
  }

  // To be called after wait_for_room. end_ns never decreases.
  void push(std::uint32_t kernel_count, Nanoseconds end_ns) {
    at(end_++) = {.end_ns = end_ns, .kernel_count = kernel_count};
    kernels_ += kernel_count;
  }

 private:
  struct Entry {
    Nanoseconds end_ns = 0;
    std::uint32_t kernel_count = 0;
  };
  using Entries = std::array<Entry, kQueuedKernelsMax>;

  Entry& at(std::uint32_t position) { return (*entries_)[position % kQueuedKernelsMax]; }

  std::unique_ptr<Entries> entries_;
  std::uint32_t first_ = 0;  // positions, which run on and wrap
  std::uint32_t end_ = 0;
  std::uint32_t kernels_ = 0;
};

}  // namespace torch_remote::emulator
