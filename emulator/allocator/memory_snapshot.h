// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The allocator's segments and blocks at one moment, as torch.cuda.memory_snapshot() shows them.
#pragma once

#include <cstdint>
#include <vector>

#include "emulator/allocator/memory_history.h"
#include "emulator/allocator/stream_table.h"

namespace torch_remote::emulator {

// Sizes in bytes. A block is active while it is allocated or waits for another stream.
struct BlockSnapshot {
  std::uint64_t address = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t requested_bytes = 0;
  bool is_allocated = false;
  bool is_active = false;
  LocationNumber location = 0;  // that allocated it
};

// Of an expandable segment, one for each contiguous range that has memory.
struct SegmentSnapshot {
  std::uint64_t address = 0;
  std::uint64_t total_bytes = 0;
  std::uint64_t allocated_bytes = 0;
  std::uint64_t active_bytes = 0;
  std::uint64_t requested_bytes = 0;
  StreamNumber stream = 0;
  bool is_large = false;
  bool is_expandable = false;
  LocationNumber location = 0;
  std::vector<BlockSnapshot> blocks;
};

struct MemorySnapshot {
  std::vector<SegmentSnapshot> segments;  // by address
  std::vector<MemoryEvent> events;
};

}  // namespace torch_remote::emulator
