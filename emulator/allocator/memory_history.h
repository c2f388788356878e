// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What an allocator did, event by event, as torch.cuda.memory._record_memory_history() keeps it: a
// ring of the last events, each with the program's line.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "emulator/allocator/stream_table.h"

namespace torch_remote::emulator {

// A line of the program, as whoever calls the allocator numbers them; 0 is none.
using LocationNumber = std::uint32_t;

enum class MemoryAction : std::uint8_t {
  kAllocate,
  kFreeRequested,
  kFreeCompleted,
  kSegmentAllocate,
  kSegmentFree,
  kSegmentMap,
  kSegmentUnmap,
  kSnapshot,
  kOutOfMemory,
};

// PyTorch's name of it ("alloc", "free_requested", ...).
std::string_view name_of(MemoryAction action);

struct MemoryEvent {
  MemoryAction action = MemoryAction::kAllocate;
  StreamNumber stream = 0;
  LocationNumber location = 0;
  std::uint64_t address = 0;  // for kOutOfMemory the bytes that the device had left
  std::uint64_t size_bytes = 0;
  std::int64_t time_us = 0;
};

// Which events know their line. Each includes those before.
enum class HistoryContext : std::uint8_t { kNever, kState, kAllocations, kAll };

struct HistorySettings {
  bool is_enabled = false;
  HistoryContext context = HistoryContext::kNever;
  std::size_t entries_max = std::numeric_limits<std::size_t>::max();
};

class MemoryHistory {
 public:
  const HistorySettings& settings() const { return settings_; }
  bool is_enabled() const { return settings_.is_enabled; }
  bool records(HistoryContext level) const { return settings_.context >= level; }

  void set(const HistorySettings& settings) {
    settings_ = settings;
    settings_.entries_max = std::max<std::size_t>(settings.entries_max, 1);
    if (!settings.is_enabled) clear();
  }
  void clear() {
    events_.clear();
    next_ = 0;
  }
  void add(MemoryEvent event) {
    if (!records(HistoryContext::kAllocations)) event.location = 0;
    if (events_.size() < settings_.entries_max) {
      events_.push_back(event);
    } else {
      events_[next_] = event;
      next_ = (next_ + 1) % events_.size();
    }
  }
  // The oldest first.
  std::vector<MemoryEvent> events() const {
    std::vector<MemoryEvent> ordered = events_;
    std::rotate(ordered.begin(), ordered.begin() + static_cast<std::ptrdiff_t>(next_),
                ordered.end());
    return ordered;
  }

 private:
  HistorySettings settings_;
  std::vector<MemoryEvent> events_;
  std::size_t next_ = 0;
};

}  // namespace torch_remote::emulator
