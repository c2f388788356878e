// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Expandable segments: a range of addresses a stream and pool, larger than the device's memory, to
// whose pages memory comes as it is needed and from which it goes when the cache is emptied. Blocks
// of it are free, allocated or, where there is no memory, unmapped.
#include <algorithm>
#include <cassert>
#include <cstdint>
#include <vector>

#include "emulator/allocator/caching_allocator.h"

namespace torch_remote::emulator {
namespace {

constexpr std::uint64_t kSmallPageBytes = std::uint64_t{2} << 20;

std::uint64_t round_up(std::uint64_t value, std::uint64_t factor) {
  return (value + factor - 1) / factor * factor;
}

}  // namespace

// A free block of at least the request's size, grown by as many pages as it takes.
BlockIndex CachingAllocator::take_expandable(const Request& request) {
  BlockIndex block = find_expandable(request);
  if (!blocks_[block].is_mapped &&
      !map_block(block, std::min(blocks_[block].size_bytes, request.size_bytes), request.location))
    return kNoBlock;
  while (blocks_[block].size_bytes < request.size_bytes) {
    // Free memory, and then addresses without: these get some, and what is before merges with them.
    const std::uint64_t missing_bytes = request.size_bytes - blocks_[block].size_bytes;
    const BlockIndex next = blocks_[block].next;
    if (!map_block(next, std::min(missing_bytes, blocks_[next].size_bytes), request.location))
      return kNoBlock;
    block = next;
  }
  erase_free(blocks_[block]);
  return block;
}

// The lowest run of free and unmapped blocks that is long enough. A new segment is made where there
// is none.
BlockIndex CachingAllocator::find_expandable(const Request& request) {
  const auto is_idle = [&](BlockIndex block) {
    return block != kNoBlock && blocks_[block].is_idle();
  };
  for (const BlockIndex unmapped : free_blocks(request.pool, request.stream).unmapped) {
    const BlockIndex before = blocks_[unmapped].previous;
    const BlockIndex first = is_idle(before) ? before : unmapped;
    std::uint64_t available_bytes = 0;
    for (BlockIndex at = first; available_bytes < request.size_bytes && is_idle(at);
         at = blocks_[at].next)
      available_bytes += blocks_[at].size_bytes;
    if (available_bytes >= request.size_bytes) return first;
  }
  const std::uint64_t page_bytes =
      request.pool == kSmallPool ? kSmallPageBytes : settings_.large_segment_size_bytes;
  // More than there is memory, so that pages can go to the end when earlier ones are gone.
  const std::uint64_t size_bytes =
      round_up(device_.total_bytes() + device_.total_bytes() / 8, page_bytes);
  const std::uint64_t address = device_.reserve_addresses(size_bytes);
  segments_.push_back({.address = address, .page_bytes = page_bytes});
  const BlockIndex block = new_block({.address = address,
                                      .size_bytes = size_bytes,
                                      .stream = request.stream,
                                      .segment = static_cast<std::uint32_t>(segments_.size() - 1),
                                      .pool = request.pool,
                                      .is_mapped = false});
  insert_unmapped(block);
  return block;
}

// Gives memory to the block's first pages, as many as that size needs. False where the device has
// none left.
bool CachingAllocator::map_block(BlockIndex block, std::uint64_t size_bytes,
                                 LocationNumber location) {
  const std::uint64_t page_bytes = segments_[blocks_[block].segment].page_bytes;
  const std::uint64_t mapped_bytes = round_up(size_bytes, page_bytes);
  const std::uint64_t address = blocks_[block].address;
  if (!device_.map(mapped_bytes)) return false;
  erase_unmapped(blocks_[block]);
  if (mapped_bytes < blocks_[block].size_bytes) {
    const BlockIndex rest = new_block({.address = address + mapped_bytes,
                                       .size_bytes = blocks_[block].size_bytes - mapped_bytes,
                                       .stream = blocks_[block].stream,
                                       .segment = blocks_[block].segment,
                                       .pool = blocks_[block].pool,
                                       .is_mapped = false});
    splice(rest, block, blocks_[block].next);
    insert_unmapped(rest);
    blocks_[block].size_bytes = mapped_bytes;
  }
  blocks_[block].is_mapped = true;
  try_merge(block, blocks_[block].previous);
  try_merge(block, blocks_[block].next);
  insert_free(block);

  Block& mapped = blocks_[block];
  reserved_bytes_ += mapped_bytes;
  statistics_.reserved_bytes.increase(mapped.pool, mapped_bytes);
  ++statistics_.num_device_alloc;
  record(MemoryAction::kSegmentMap, address, mapped_bytes, mapped.stream, location);
  if (mapped.previous == kNoBlock && mapped.segment_location == 0)
    mapped.segment_location = location;
  return true;
}

// Takes the memory of the free block's whole pages; what is before and after them stays free.
void CachingAllocator::unmap_block(BlockIndex block, StreamEvents& events,
                                   LocationNumber location) {
  const Block free = blocks_[block];
  const ExpandableSegment segment = segments_[free.segment];
  const std::uint64_t begin =
      segment.address + round_up(free.address - segment.address, segment.page_bytes);
  const std::uint64_t end = segment.address + (free.address + free.size_bytes - segment.address) /
                                                  segment.page_bytes * segment.page_bytes;
  if (begin >= end) return;
  events.synchronize_stream(free.stream);
  device_.unmap(end - begin);
  erase_free(free);
  const auto keep = [&](std::uint64_t address, std::uint64_t size_bytes) {
    const BlockIndex kept = new_block({.address = address,
                                       .size_bytes = size_bytes,
                                       .stream = free.stream,
                                       .segment = free.segment,
                                       .pool = free.pool});
    return kept;
  };
  if (begin > free.address) {
    const BlockIndex before = keep(free.address, begin - free.address);
    splice(before, blocks_[block].previous, block);
    insert_free(before);
  }
  if (end < free.address + free.size_bytes) {
    const BlockIndex after = keep(end, free.address + free.size_bytes - end);
    splice(after, block, blocks_[block].next);
    insert_free(after);
  }
  blocks_[block].address = begin;
  blocks_[block].size_bytes = end - begin;
  blocks_[block].is_mapped = false;
  try_merge(block, blocks_[block].previous);
  try_merge(block, blocks_[block].next);
  insert_unmapped(block);

  reserved_bytes_ -= end - begin;
  statistics_.reserved_bytes.decrease(free.pool, end - begin);
  ++statistics_.num_device_free;
  record(MemoryAction::kSegmentUnmap, begin, end - begin, free.stream,
         location != 0 ? location : free.segment_location);
  if (!blocks_[block].is_split()) {
    erase_unmapped(blocks_[block]);
    device_.free_addresses(segment.address);
    delete_block(block);
  }
}

void CachingAllocator::insert_unmapped(BlockIndex block) {
  std::vector<BlockIndex>& unmapped = free_blocks_of(blocks_[block]).unmapped;
  const auto place = std::lower_bound(unmapped.begin(), unmapped.end(), block,
                                      [&](BlockIndex left, BlockIndex right) {
                                        return blocks_[left].address < blocks_[right].address;
                                      });
  unmapped.insert(place, block);
}

void CachingAllocator::erase_unmapped(const Block& block) {
  std::vector<BlockIndex>& unmapped = free_blocks_of(block).unmapped;
  const auto place = std::lower_bound(
      unmapped.begin(), unmapped.end(), block.address,
      [&](BlockIndex left, std::uint64_t address) { return blocks_[left].address < address; });
  assert(place != unmapped.end() && blocks_[*place].address == block.address);
  unmapped.erase(place);
}

void CachingAllocator::splice(BlockIndex block, BlockIndex previous, BlockIndex next) {
  blocks_[block].previous = previous;
  blocks_[block].next = next;
  if (previous != kNoBlock) blocks_[previous].next = block;
  if (next != kNoBlock) blocks_[next].previous = block;
}

}  // namespace torch_remote::emulator
