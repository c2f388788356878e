// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the allocator does when no free block fits: collect garbage, ask the device, give back what
// is cached and ask again, and at last say that memory is out.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "emulator/allocator/caching_allocator.h"

namespace torch_remote::emulator {

BlockIndex CachingAllocator::get_from_device(const Request& request, StreamEvents& events) {
  if (collects_garbage()) collect_garbage(events, request.location);
  BlockIndex block = new_segment(request, /*is_retry=*/false);
  if (block != kNoBlock) return block;
  // What is given back in vain would not be in a program that has all the memory it needs.
  std::optional<CachingAllocator> before;
  if (policy_ == OutOfMemoryPolicy::kRecord) before = *this;
  block = release_and_retry(request, events);
  if (block != kNoBlock) return block;
  if (before) return record_and_go_on(request, *std::move(before));
  fail(request);
}

BlockIndex CachingAllocator::release_and_retry(const Request& request, StreamEvents& events) {
  if (release_oversize_blocks(request, events)) {
    const BlockIndex block = new_segment(request, /*is_retry=*/false);
    if (block != kNoBlock) return block;
  }
  release_cached_blocks(events, request.location);
  return new_segment(request, /*is_retry=*/true);
}

BlockIndex CachingAllocator::record_and_go_on(const Request& request, CachingAllocator before) {
  OutOfMemoryReport failure = report(request);
  *this = std::move(before);
  recorded_ = failure;
  ++statistics_.num_ooms;
  record(MemoryAction::kOutOfMemory, failure.free_bytes, request.size_bytes, request.stream,
         request.location);
  device_.become_unlimited();
  return new_segment(request, /*is_retry=*/false);
}

BlockIndex CachingAllocator::new_segment(const Request& request, bool is_retry) {
  if (is_retry) ++statistics_.num_alloc_retries;
  const std::uint64_t size_bytes = request.segment_bytes;
  if (!device_.is_unlimited()) {
    if (has_fraction_ && reserved_bytes_ + size_bytes > allowed_bytes_) return kNoBlock;
    if (settings_.throw_on_cudamalloc_oom && policy_ == OutOfMemoryPolicy::kRaise)
      reject_early(request);
  }
  if (settings_.expandable_segments) return take_expandable(request);
  const std::optional<std::uint64_t> address = device_.allocate(size_bytes);
  if (!address) return kNoBlock;
  reserved_bytes_ += size_bytes;
  statistics_.segment.increase(request.pool, 1);
  statistics_.reserved_bytes.increase(request.pool, size_bytes);
  if (size_bytes >= settings_.max_split_size_bytes) statistics_.oversize_segments.increase(1);
  ++statistics_.num_device_alloc;
  record(MemoryAction::kSegmentAllocate, *address, size_bytes, request.stream, request.location);
  return new_block({.address = *address,
                    .size_bytes = size_bytes,
                    .stream = request.stream,
                    .segment_number = ++segment_count_,
                    .segment_location = request.location,
                    .pool = request.pool});
}

void CachingAllocator::reject_early(const Request& request) {
  const auto limit_bytes = static_cast<std::uint64_t>(settings_.per_process_memory_fraction *
                                                      static_cast<double>(device_.total_bytes()));
  if (reserved_bytes_ + request.segment_bytes <= limit_bytes) return;
  ++statistics_.num_oom_rejections;
  throw OutOfMemory(report(request),
                    "CUDA out of memory. Allocation was preemptively rejected because it would "
                    "exceed per_process_memory_fraction limit. Requested size: " +
                        format_size(request.requested_bytes));
}

OutOfMemoryReport CachingAllocator::report(const Request& request) const {
  OutOfMemoryReport report{
      .device_index = device_index_,
      .requested_bytes = request.requested_bytes,
      .segment_bytes = request.segment_bytes,
      .total_bytes = device_.total_bytes(),
      .free_bytes = device_.free_bytes(),
      .in_use_bytes = device_.used_bytes(),
      .allocated_bytes = static_cast<std::uint64_t>(statistics_.allocated_bytes.all.current),
      .reserved_unallocated_bytes = static_cast<std::uint64_t>(
          statistics_.reserved_bytes.all.current - statistics_.allocated_bytes.all.current),
      .has_expandable_segments = settings_.expandable_segments};
  if (has_fraction_) report.allowed_bytes = allowed_bytes_;
  return report;
}

void CachingAllocator::fail(const Request& request) {
  record(MemoryAction::kOutOfMemory, device_.free_bytes(), request.size_bytes, request.stream,
         request.location);
  ++statistics_.num_ooms;
  throw OutOfMemory(report(request), settings_.version);
}

// Blocks of the large pool that have been free for longer than the average go back, until enough
// has: what is reserved above the threshold.
void CachingAllocator::collect_garbage(StreamEvents& events, LocationNumber location) {
  const auto threshold_bytes = static_cast<std::uint64_t>(settings_.garbage_collection_threshold *
                                                          static_cast<double>(allowed_bytes_));
  if (reserved_bytes_ <= threshold_bytes) return;
  const std::uint64_t target_bytes = reserved_bytes_ - threshold_bytes;
  const auto age_of = [&](BlockIndex block) {
    return pools_[kLargePool].search_count - blocks_[block].garbage_age_base;
  };
  std::vector<BlockIndex> candidates = unsplit_blocks(kLargePool);
  std::int64_t total_age = 0;
  for (const BlockIndex block : candidates) total_age += age_of(block);
  std::uint64_t reclaimed_bytes = 0;
  bool has_freed = true;
  while (reclaimed_bytes < target_bytes && has_freed && !candidates.empty()) {
    const double age_threshold =
        static_cast<double>(total_age) / static_cast<double>(candidates.size());
    has_freed = false;
    std::vector<BlockIndex> younger;
    for (const BlockIndex block : candidates) {
      if (static_cast<double>(age_of(block)) < age_threshold) {
        younger.push_back(block);
        continue;
      }
      has_freed = true;
      reclaimed_bytes += blocks_[block].size_bytes;
      total_age -= age_of(block);
      release_block(block, events, location);
    }
    candidates = std::move(younger);
  }
}

// Of all streams, by stream, size and address.
std::vector<BlockIndex> CachingAllocator::unsplit_blocks(PoolNumber pool) {
  std::vector<BlockIndex> blocks;
  for (const FreeBlocks& stream : pools_[pool].streams) {
    const OrderedBlocks& free = stream.by_size;
    for (auto place = free.begin(); place != free.end(); place = free.next(place))
      if (!blocks_[free.at(place).block].is_split()) blocks.push_back(free.at(place).block);
  }
  return blocks;
}

// Gives back blocks that may not be split: one that is large enough, or else the largest, until
// they are together. False where that isn't enough.
bool CachingAllocator::release_oversize_blocks(const Request& request, StreamEvents& events) {
  if (settings_.max_split_size_bytes == AllocatorSettings::kUnlimited) return false;
  OrderedBlocks& free = free_blocks(request.pool, request.stream).by_size;
  const std::uint64_t wanted_bytes = std::max(request.size_bytes, settings_.max_split_size_bytes);
  const auto release = [&](BlockIndex block) {
    if (blocks_[block].is_split() || blocks_[block].is_expandable()) return false;
    release_block(block, events, request.location);
    return true;
  };
  const OrderedBlocks::Place place = free.lower_bound(wanted_bytes);
  if (place != free.end()) return release(free.at(place).block);
  std::uint64_t released_bytes = 0;
  while (!free.empty() && released_bytes < wanted_bytes) {
    const OrderedBlocks::Entry largest = free.at(free.previous(free.end()));
    if (largest.key.size_bytes() < settings_.max_split_size_bytes || !release(largest.block)) break;
    released_bytes += largest.key.size_bytes();
  }
  return released_bytes >= wanted_bytes;
}

void CachingAllocator::empty_cache(StreamEvents& events, LocationNumber location) {
  if (!history_.records(HistoryContext::kAll)) location = 0;
  release_cached_blocks(events, location);
}

void CachingAllocator::release_cached_blocks(StreamEvents& events, LocationNumber location) {
  synchronize_and_free(events, location);
  release_blocks(kLargePool, events, location);
  release_blocks(kSmallPool, events, location);
}

void CachingAllocator::release_blocks(PoolNumber pool, StreamEvents& events,
                                      LocationNumber location) {
  std::vector<BlockIndex> expandable;
  for (const FreeBlocks& stream : pools_[pool].streams) {
    const OrderedBlocks& free = stream.by_size;
    std::vector<BlockIndex> whole;
    for (auto place = free.begin(); place != free.end(); place = free.next(place)) {
      const BlockIndex block = free.at(place).block;
      if (blocks_[block].is_expandable()) {
        expandable.push_back(block);
      } else if (!blocks_[block].is_split()) {
        whole.push_back(block);
      }
    }
    for (const BlockIndex block : whole) release_block(block, events, location);
  }
  for (const BlockIndex block : expandable) unmap_block(block, events, location);
}

void CachingAllocator::release_block(BlockIndex block, StreamEvents& events,
                                     LocationNumber location) {
  const Block& released = blocks_[block];
  ++statistics_.num_device_free;
  record(MemoryAction::kSegmentFree, released.address, released.size_bytes, released.stream,
         location != 0 ? location : released.segment_location);
  events.synchronize_device();
  device_.free(released.address);
  reserved_bytes_ -= released.size_bytes;
  statistics_.segment.decrease(released.pool, 1);
  statistics_.reserved_bytes.decrease(released.pool, released.size_bytes);
  if (released.size_bytes >= settings_.max_split_size_bytes)
    statistics_.oversize_segments.decrease(1);
  erase_free(released);
  delete_block(block);
}

}  // namespace torch_remote::emulator
