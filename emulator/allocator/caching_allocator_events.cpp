// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Blocks that other streams used: each waits for an event in each of these streams. PyTorch looks
// at the events at the next request.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "emulator/allocator/caching_allocator.h"

namespace torch_remote::emulator {

void CachingAllocator::wait_for_streams(BlockIndex block, StreamEvents& events) {
  const auto uses = stream_uses_.find(block);
  assert(uses != stream_uses_.end());
  const StreamSet streams = std::move(uses->second);
  stream_uses_.erase(uses);
  blocks_[block].has_stream_uses = false;
  for (const auto& slot : streams.slots()) {
    if (slot.distance < 0) continue;
    ++blocks_[block].event_count;
    pending_events_.at(slot.stream, device_index_)
        .events.push_back({.event = events.record(slot.stream), .block = block});
  }
}

void CachingAllocator::process_events(StreamEvents& events, LocationNumber location) {
  auto& slots = pending_events_.slots();
  for (std::size_t slot = 0; slot < slots.size();) {
    if (slots[slot].distance < 0) {
      ++slot;
      continue;
    }
    EventQueue& queue = slots[slot].value;
    for (; queue.first < queue.events.size(); ++queue.first) {
      const PendingEvent pending = queue.events[queue.first];
      if (!events.is_done(pending.event)) break;
      if (--blocks_[pending.block].event_count == 0) finish_free(pending.block, location);
    }
    if (queue.first == queue.events.size()) {
      // Another queue may have moved to this slot.
      pending_events_.erase(slot);
    } else {
      ++slot;
    }
  }
}

void CachingAllocator::synchronize_and_free(StreamEvents& events, LocationNumber location) {
  ++statistics_.num_sync_all_streams;
  for (auto& slot : pending_events_.slots()) {
    if (slot.distance < 0) continue;
    for (; slot.value.first < slot.value.events.size(); ++slot.value.first) {
      const PendingEvent pending = slot.value.events[slot.value.first];
      events.synchronize(pending.event);
      if (--blocks_[pending.block].event_count == 0) finish_free(pending.block, location);
    }
  }
  pending_events_.clear();
}

}  // namespace torch_remote::emulator
