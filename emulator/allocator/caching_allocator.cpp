// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The everyday half of the caching allocator: a free block for a request, splitting it, and merging
// what is freed with its neighbours.
#include "emulator/allocator/caching_allocator.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace torch_remote::emulator {
namespace {

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
constexpr std::uint64_t kBlockBytes = 512;
constexpr std::uint64_t kSmallRequestBytes = kMib;
constexpr std::uint64_t kSmallSegmentBytes = 2 * kMib;
constexpr std::uint64_t kOwnSegmentBytes = 10 * kMib;
constexpr std::uint64_t kOwnSegmentMultipleBytes = 2 * kMib;

std::uint64_t next_multiple(std::uint64_t value, std::uint64_t factor) {
  return (value + factor - 1) / factor * factor;
}

// The next of the evenly spaced steps between two powers of two.
std::uint64_t next_division(std::uint64_t size_bytes, std::uint64_t divisions) {
  if (std::has_single_bit(size_bytes)) return size_bytes;
  const std::uint64_t floor_bytes = std::bit_floor(size_bytes);
  const std::uint64_t step_bytes = floor_bytes / divisions;
  return step_bytes == 0 ? 2 * floor_bytes : next_multiple(size_bytes, step_bytes);
}

}  // namespace

CachingAllocator::CachingAllocator(DeviceMemory device, const AllocatorSettings& settings,
                                   std::int32_t device_index, OutOfMemoryPolicy policy)
    : settings_(settings),
      device_(std::move(device)),
      device_index_(device_index),
      policy_(policy),
      prefers_older_segments_(settings.version >= AllocatorVersion::kTorch2_14) {
  statistics_.max_split_size = static_cast<std::int64_t>(settings.max_split_size_bytes);
  if (settings.per_process_memory_fraction < 1)
    set_memory_fraction(settings.per_process_memory_fraction);
}

BlockIndex CachingAllocator::allocate(std::uint64_t size_bytes, StreamNumber stream,
                                      StreamEvents& events, LocationNumber location) {
  assert(size_bytes > 0);
  if (size_bytes >= kRequestEndBytes) {
    // Refused before the allocator sees it, so it isn't counted either.
    throw OutOfMemory({.device_index = device_index_, .requested_bytes = size_bytes},
                      std::string("CUDA out of memory. Tried to allocate more than 1EB memory."));
  }
  if (!history_.records(HistoryContext::kState)) location = 0;
  if (!pending_events_.empty()) process_events(events, location);
  const Request wanted = request(size_bytes, stream, location);
  BlockIndex block = take_free_block(wanted);
  if (block == kNoBlock) block = get_from_device(wanted, events);
  return give(wanted, block);
}

void CachingAllocator::free(BlockIndex block, StreamEvents& events, LocationNumber location) {
  Block& freed = blocks_[block];
  assert(freed.is_allocated && "the block isn't allocated");
  if (!history_.records(HistoryContext::kAll)) location = 0;
  freed.is_allocated = false;
  statistics_.allocation.decrease(freed.pool, 1);
  statistics_.allocated_bytes.decrease(freed.pool, freed.size_bytes);
  record(MemoryAction::kFreeRequested, freed.address, freed.requested_bytes, freed.stream,
         location != 0 ? location : freed.location);
  if (freed.size_bytes >= settings_.max_split_size_bytes)
    statistics_.oversize_allocations.decrease(1);
  if (freed.has_stream_uses) {
    wait_for_streams(block, events);
  } else {
    finish_free(block, location);
  }
}

void CachingAllocator::record_stream(BlockIndex block, StreamNumber stream) {
  Block& used = blocks_[block];
  if (used.stream == stream) return;
  used.has_stream_uses = true;
  stream_uses_[block].at(stream, device_index_);
}

void CachingAllocator::set_memory_fraction(double fraction) {
  allowed_bytes_ =
      static_cast<std::uint64_t>(fraction * static_cast<double>(device_.total_bytes()));
  has_fraction_ = true;
}

double CachingAllocator::memory_fraction() const {
  if (!has_fraction_) return 1;
  return static_cast<double>(allowed_bytes_) / static_cast<double>(device_.total_bytes());
}

void CachingAllocator::set_settings(const AllocatorSettings& settings) {
  const AllocatorVersion version = settings_.version;
  settings_ = settings;
  settings_.version = version;
}

std::uint64_t CachingAllocator::rounded_size(std::uint64_t size_bytes) const {
  if (size_bytes < kBlockBytes) return kBlockBytes;
  const std::uint64_t divisions = settings_.divisions_of(size_bytes);
  if (divisions > 1 && size_bytes > kBlockBytes * divisions)
    return next_division(size_bytes, divisions);
  return next_multiple(size_bytes, kBlockBytes);
}

std::uint64_t CachingAllocator::segment_size(std::uint64_t size_bytes) const {
  if (size_bytes <= kSmallRequestBytes) return kSmallSegmentBytes;
  if (size_bytes < kOwnSegmentBytes) return settings_.large_segment_size_bytes;
  return next_multiple(size_bytes, kOwnSegmentMultipleBytes);
}

CachingAllocator::Request CachingAllocator::request(std::uint64_t size_bytes, StreamNumber stream,
                                                    LocationNumber location) const {
  const std::uint64_t rounded_bytes = rounded_size(size_bytes);
  return {.requested_bytes = size_bytes,
          .size_bytes = rounded_bytes,
          .segment_bytes = segment_size(rounded_bytes),
          .stream = stream,
          .pool = rounded_bytes <= kSmallRequestBytes ? kSmallPool : kLargePool,
          .location = location};
}

BlockIndex CachingAllocator::take_free_block(const Request& request) {
  if (collects_garbage()) ++pools_[request.pool].search_count;
  OrderedBlocks& free = free_blocks(request.pool, request.stream).by_size;
  OrderedBlocks::Place place = free.lower_bound(request.size_bytes);
  if (place == free.end()) return kNoBlock;
  const auto block_at = [&](OrderedBlocks::Place at) -> const Block& {
    return blocks_[free.at(at).block];
  };
  if (block_at(place).is_expandable()) {
    if (settings_.expandable_segments) {
      // A block counts with the size that it can grow to.
      const auto size_to_grow_to = [&](const Block& block) {
        const bool can_grow = block.next != kNoBlock && !blocks_[block.next].is_mapped;
        return block.size_bytes + (can_grow ? blocks_[block.next].size_bytes : 0);
      };
      for (auto next = free.next(place);
           next != free.end() && block_at(place).is_expandable() &&
           size_to_grow_to(block_at(next)) < size_to_grow_to(block_at(place));
           next = free.next(next))
        place = next;
    } else {
      do {
        place = free.next(place);
      } while (place != free.end() && block_at(place).is_expandable());
      if (place == free.end()) return kNoBlock;
    }
  }
  const std::uint64_t size_bytes = free.at(place).key.size_bytes();
  const bool is_oversize = request.size_bytes >= settings_.max_split_size_bytes;
  if (!is_oversize && size_bytes >= settings_.max_split_size_bytes) return kNoBlock;
  if (is_oversize && size_bytes >= request.size_bytes + settings_.max_non_split_rounding_bytes)
    return kNoBlock;
  const BlockIndex block = free.at(place).block;
  free.erase(place);
  return block;
}

BlockIndex CachingAllocator::give(const Request& request, BlockIndex block) {
  const bool was_split = blocks_[block].is_split();
  const bool is_expandable = blocks_[block].is_expandable();
  const std::size_t pool = request.pool;
  if (should_split(blocks_[block], request.size_bytes)) {
    const BlockIndex rest = block;
    block = split(rest, request.size_bytes);
    const std::uint64_t rest_bytes = blocks_[rest].size_bytes;
    if (!is_expandable && was_split) {
      statistics_.inactive_split_bytes.decrease(pool, request.size_bytes);
    } else if (!is_expandable) {
      statistics_.inactive_split_bytes.increase(pool, rest_bytes);
      statistics_.inactive_split.increase(pool, 1);
    }
  } else if (was_split && !is_expandable) {
    statistics_.inactive_split_bytes.decrease(pool, blocks_[block].size_bytes);
    statistics_.inactive_split.decrease(pool, 1);
  }

  Block& given = blocks_[block];
  given.is_allocated = true;
  given.requested_bytes = request.requested_bytes;
  given.location = request.location;
  record(MemoryAction::kAllocate, given.address, request.requested_bytes, given.stream,
         request.location);
  statistics_.allocation.increase(pool, 1);
  statistics_.allocated_bytes.increase(pool, given.size_bytes);
  statistics_.active.increase(pool, 1);
  statistics_.active_bytes.increase(pool, given.size_bytes);
  statistics_.requested_bytes.increase(pool, request.requested_bytes);
  if (given.size_bytes >= settings_.max_split_size_bytes)
    statistics_.oversize_allocations.increase(1);
  return block;
}

bool CachingAllocator::should_split(const Block& block, std::uint64_t size_bytes) const {
  const std::uint64_t rest_bytes = block.size_bytes - size_bytes;
  if (block.pool == kSmallPool || settings_.expandable_segments) return rest_bytes >= kBlockBytes;
  return size_bytes < settings_.max_split_size_bytes && rest_bytes > kSmallRequestBytes;
}

// Cuts so many bytes off the block's beginning; they are the block that is returned, and the rest
// keeps the number and is free.
BlockIndex CachingAllocator::split(BlockIndex block, std::uint64_t size_bytes) {
  const Block& whole = blocks_[block];
  const BlockIndex first = new_block({.address = whole.address,
                                      .size_bytes = size_bytes,
                                      .previous = whole.previous,
                                      .next = block,
                                      .stream = whole.stream,
                                      .segment = whole.segment,
                                      .segment_number = whole.segment_number,
                                      .pool = whole.pool});
  Block& rest = blocks_[block];
  if (rest.previous != kNoBlock) blocks_[rest.previous].next = first;
  rest.previous = first;
  rest.address += size_bytes;
  rest.size_bytes -= size_bytes;
  std::swap(blocks_[first].segment_location, rest.segment_location);
  insert_free(block);
  return first;
}

void CachingAllocator::finish_free(BlockIndex block, LocationNumber location) {
  assert(blocks_[block].is_idle());
  const Block freed = blocks_[block];
  record(MemoryAction::kFreeCompleted, freed.address, freed.requested_bytes, freed.stream,
         location != 0 ? location : freed.location);
  blocks_[block].location = 0;
  std::int64_t split_count_change = 0;
  std::int64_t split_bytes_change = 0;
  for (const BlockIndex neighbour : {freed.previous, freed.next}) {
    const std::uint64_t merged_bytes = try_merge(block, neighbour);
    if (merged_bytes == 0) continue;
    --split_count_change;
    split_bytes_change -= static_cast<std::int64_t>(merged_bytes);
  }
  insert_free(block);
  if (!freed.is_expandable()) {
    if (blocks_[block].is_split()) {
      ++split_count_change;
      split_bytes_change += static_cast<std::int64_t>(blocks_[block].size_bytes);
    }
    statistics_.inactive_split.change(freed.pool, split_count_change);
    statistics_.inactive_split_bytes.change(freed.pool, split_bytes_change);
  }
  statistics_.active.decrease(freed.pool, 1);
  statistics_.active_bytes.decrease(freed.pool, freed.size_bytes);
  statistics_.requested_bytes.decrease(freed.pool, freed.requested_bytes);
}

// The bytes of the other block, which is then part of the first; 0 where it can't be.
std::uint64_t CachingAllocator::try_merge(BlockIndex into, BlockIndex other) {
  if (other == kNoBlock) return 0;
  Block& merged = blocks_[into];
  const Block& neighbour = blocks_[other];
  if (!neighbour.is_idle() || neighbour.is_mapped != merged.is_mapped) return 0;
  if (neighbour.is_mapped) {
    erase_free(neighbour);
  } else {
    erase_unmapped(neighbour);
  }
  if (merged.previous == other) {
    merged.address = neighbour.address;
    merged.previous = neighbour.previous;
    if (merged.previous != kNoBlock) blocks_[merged.previous].next = into;
    merged.segment_location = neighbour.segment_location;
  } else {
    merged.next = neighbour.next;
    if (merged.next != kNoBlock) blocks_[merged.next].previous = into;
  }
  const std::uint64_t merged_bytes = neighbour.size_bytes;
  merged.size_bytes += merged_bytes;
  delete_block(other);
  return merged_bytes;
}

BlockIndex CachingAllocator::new_block(const Block& block) {
  if (unused_blocks_.empty()) {
    blocks_.push_back(block);
    return static_cast<BlockIndex>(blocks_.size() - 1);
  }
  const BlockIndex index = unused_blocks_.back();
  unused_blocks_.pop_back();
  blocks_[index] = block;
  return index;
}

void CachingAllocator::delete_block(BlockIndex block) { unused_blocks_.push_back(block); }

CachingAllocator::FreeBlocks& CachingAllocator::free_blocks(PoolNumber pool, StreamNumber stream) {
  auto& streams = pools_[pool].streams;
  if (stream >= streams.size()) streams.resize(stream + 1);
  return streams[stream];
}

void CachingAllocator::insert_free(BlockIndex block) {
  Block& free = blocks_[block];
  free.garbage_age_base = pools_[free.pool].search_count;
  free_blocks_of(free).by_size.insert({.key = key_of(free), .block = block});
}

void CachingAllocator::erase_free(const Block& block) {
  free_blocks_of(block).by_size.erase(key_of(block));
}

void CachingAllocator::record(MemoryAction action, std::uint64_t address, std::uint64_t size_bytes,
                              StreamNumber stream, LocationNumber location) {
  if (!history_.is_enabled()) return;
  history_.add({.action = action,
                .stream = stream,
                .location = location,
                .address = address,
                .size_bytes = size_bytes,
                .time_us = time_us_++});
}

MemorySnapshot CachingAllocator::snapshot(bool with_events) {
  MemorySnapshot snapshot;
  if (with_events) snapshot.events = history_.events();
  std::vector<bool> is_unused(blocks_.size());
  for (const BlockIndex block : unused_blocks_) is_unused[block] = true;
  std::uint64_t active_bytes = 0;
  for (std::size_t index = 0; index < blocks_.size(); ++index) {
    const Block& head = blocks_[index];
    const bool is_head = head.previous == kNoBlock || !blocks_[head.previous].is_mapped;
    if (is_unused[index] || !head.is_mapped || !is_head) continue;
    SegmentSnapshot segment{.address = head.address,
                            .stream = head.stream,
                            .is_large = head.pool == kLargePool,
                            .is_expandable = head.is_expandable(),
                            .location = head.segment_location};
    for (auto at = static_cast<BlockIndex>(index); at != kNoBlock && blocks_[at].is_mapped;
         at = blocks_[at].next) {
      const Block& block = blocks_[at];
      const bool is_active = !block.is_idle();
      segment.total_bytes += block.size_bytes;
      if (block.is_allocated) segment.allocated_bytes += block.size_bytes;
      if (is_active) segment.active_bytes += block.size_bytes;
      if (is_active) segment.requested_bytes += block.requested_bytes;
      segment.blocks.push_back({.address = block.address,
                                .size_bytes = block.size_bytes,
                                .requested_bytes = block.requested_bytes,
                                .is_allocated = block.is_allocated,
                                .is_active = is_active,
                                .location = block.location});
    }
    active_bytes += segment.active_bytes;
    snapshot.segments.push_back(std::move(segment));
  }
  std::sort(snapshot.segments.begin(), snapshot.segments.end(),
            [](const SegmentSnapshot& left, const SegmentSnapshot& right) {
              return left.address < right.address;
            });
  record(MemoryAction::kSnapshot, 0, active_bytes, 0, 0);
  return snapshot;
}

}  // namespace torch_remote::emulator
