// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// PyTorch's CUDA caching allocator, as a model: which block a request gets, when a segment is asked
// for, split, merged or given back, what torch.cuda.memory_stats() says, and where memory runs out
// are those of c10/cuda/CUDACachingAllocator.cpp. `emulator/allocator/reference` compares them with
// PyTorch's own library, call by call.
//
// A CachingAllocator is a value: a copy goes on by itself. It belongs to one device, isn't
// thread-safe, and holds nothing outside itself; the clock that its events belong to is an
// argument.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "emulator/allocator/allocator_settings.h"
#include "emulator/allocator/allocator_statistics.h"
#include "emulator/allocator/device_memory.h"
#include "emulator/allocator/memory_history.h"
#include "emulator/allocator/memory_snapshot.h"
#include "emulator/allocator/ordered_blocks.h"
#include "emulator/allocator/out_of_memory.h"
#include "emulator/allocator/stream_events.h"
#include "emulator/allocator/stream_table.h"

namespace torch_remote::emulator {

// Requests of this size or more are refused without looking at the device (2^60 bytes).
inline constexpr std::uint64_t kRequestEndBytes = std::uint64_t{1} << 60;

// What happens to a request that doesn't fit.
enum class OutOfMemoryPolicy {
  // OutOfMemory is thrown, as PyTorch does.
  kRaise,
  // The first one is noted, and from there on the device has all the memory that is asked for, so
  // that the program runs on to the peak that it would need.
  kRecord,
};

class CachingAllocator {
 public:
  explicit CachingAllocator(DeviceMemory device, const AllocatorSettings& settings = {},
                            std::int32_t device_index = 0,
                            OutOfMemoryPolicy policy = OutOfMemoryPolicy::kRaise);

  // The block stays the caller's until free(). Throws OutOfMemory; what was cached has then been
  // given back to the device, as PyTorch does. size_bytes is not 0.
  BlockIndex allocate(std::uint64_t size_bytes, StreamNumber stream, StreamEvents& events,
                      LocationNumber location = 0);
  // The memory can be used again at once, or when the streams that record_stream() named are done.
  void free(BlockIndex block, StreamEvents& events, LocationNumber location = 0);
  // Another stream than the one of the allocation uses the block.
  void record_stream(BlockIndex block, StreamNumber stream);

  // As torch.cuda.empty_cache().
  void empty_cache(StreamEvents& events, LocationNumber location = 0);
  // As torch.cuda.set_per_process_memory_fraction(); 0 to 1.
  void set_memory_fraction(double fraction);
  double memory_fraction() const;
  // As torch.cuda.memory._set_allocator_settings().
  void set_settings(const AllocatorSettings& settings);

  // Goes on as the allocator of another GPU, where something else uses outside_bytes more. Nothing
  // so far may have depended on the size of the device: no request was refused, and the settings
  // name no fraction of it.
  void become(std::uint64_t total_bytes, std::uint64_t outside_bytes, OutOfMemoryPolicy policy) {
    device_.become(total_bytes, outside_bytes);
    policy_ = policy;
  }

  const AllocatorSettings& settings() const { return settings_; }
  const AllocatorStatistics& statistics() const { return statistics_; }
  void reset_peak() { statistics_.reset_peak(); }
  void reset_accumulated() { statistics_.reset_accumulated(); }
  const DeviceMemory& device() const { return device_; }
  std::int32_t device_index() const { return device_index_; }
  // Memory of the device that is used by something else than this allocator: contexts, libraries.
  // False where there isn't so much left.
  bool take_outside(std::uint64_t size_bytes) { return device_.map(size_bytes); }
  // See DeviceMemory.
  void place_segments(std::vector<std::uint64_t> addresses) {
    device_.place_segments(std::move(addresses));
  }

  // Whether a block waits for other streams' events, so that the next request asks for them.
  bool has_pending_events() const { return !pending_events_.empty(); }

  // The first request that didn't fit, under OutOfMemoryPolicy::kRecord.
  const std::optional<OutOfMemoryReport>& first_out_of_memory() const { return recorded_; }

  std::uint64_t address_of(BlockIndex block) const { return blocks_[block].address; }
  std::uint64_t size_of(BlockIndex block) const { return blocks_[block].size_bytes; }
  // What a request of that many bytes takes.
  std::uint64_t rounded_size(std::uint64_t size_bytes) const;

  void set_history(const HistorySettings& history) { history_.set(history); }
  // For events that are recorded from now on. Where nobody says it, events are a microsecond apart.
  void set_time(std::int64_t time_us) { time_us_ = std::max(time_us_, time_us); }
  const MemoryHistory& history() const { return history_; }
  // Is an event of the history itself.
  MemorySnapshot snapshot(bool with_events = true);

 private:
  enum PoolNumber : std::uint8_t { kSmallPool = 0, kLargePool = 1 };
  static constexpr std::uint32_t kNoSegment = ~std::uint32_t{0};

  struct Nothing {};
  using StreamSet = StreamTable<Nothing>;

  struct Block {
    std::uint64_t address = 0;
    std::uint64_t size_bytes = 0;
    std::uint64_t requested_bytes = 0;
    std::int64_t garbage_age_base = 0;
    BlockIndex previous = kNoBlock;  // neighbours in the same segment
    BlockIndex next = kNoBlock;
    StreamNumber stream = 0;
    std::uint32_t segment = kNoSegment;  // the expandable segment, if any
    std::uint32_t segment_number = 0;    // segments are numbered as they are had from the device
    std::int32_t event_count = 0;
    LocationNumber location = 0;
    LocationNumber segment_location = 0;
    PoolNumber pool = kSmallPool;
    bool is_allocated = false;
    bool is_mapped = true;  // false: addresses of an expandable segment without memory
    bool has_stream_uses = false;

    bool is_split() const { return previous != kNoBlock || next != kNoBlock; }
    bool is_expandable() const { return segment != kNoSegment; }
    bool is_idle() const { return !is_allocated && event_count == 0 && !has_stream_uses; }
  };

  struct FreeBlocks {
    OrderedBlocks by_size;
    std::vector<BlockIndex> unmapped;  // by address
  };
  struct Pool {
    std::vector<FreeBlocks> streams;  // by number
    std::int64_t search_count = 0;    // counted only where garbage is collected
  };

  struct ExpandableSegment {
    std::uint64_t address = 0;
    std::uint64_t size_bytes = 0;
    std::uint64_t page_bytes = 0;
    StreamNumber stream = 0;
  };

  struct PendingEvent {
    StreamEvents::Event event = 0;
    BlockIndex block = kNoBlock;
  };
  struct EventQueue {
    std::vector<PendingEvent> events;
    std::size_t first = 0;
  };

  struct Request {
    std::uint64_t requested_bytes = 0;
    std::uint64_t size_bytes = 0;     // rounded
    std::uint64_t segment_bytes = 0;  // what the device is asked for
    StreamNumber stream = 0;
    PoolNumber pool = kSmallPool;
    LocationNumber location = 0;
  };

  // caching_allocator.cpp
  Request request(std::uint64_t size_bytes, StreamNumber stream, LocationNumber location) const;
  std::uint64_t segment_size(std::uint64_t size_bytes) const;
  BlockIndex take_free_block(const Request& request);
  BlockIndex give(const Request& request, BlockIndex block);
  bool should_split(const Block& block, std::uint64_t size_bytes) const;
  BlockIndex split(BlockIndex block, std::uint64_t size_bytes);
  void finish_free(BlockIndex block, LocationNumber location);
  std::uint64_t try_merge(BlockIndex into, BlockIndex other);
  BlockIndex new_block(const Block& block);
  void delete_block(BlockIndex block);
  FreeBlocks& free_blocks(PoolNumber pool, StreamNumber stream);
  FreeBlocks& free_blocks_of(const Block& block) { return free_blocks(block.pool, block.stream); }
  OrderedBlocks::Key key_of(const Block& block) const {
    return {block.size_bytes, prefers_older_segments_ ? block.segment_number : 0, block.address};
  }
  void insert_free(BlockIndex block);
  void erase_free(const Block& block);
  void record(MemoryAction action, std::uint64_t address, std::uint64_t size_bytes,
              StreamNumber stream, LocationNumber location);
  bool collects_garbage() const {
    return has_fraction_ && settings_.garbage_collection_threshold > 0;
  }

  // caching_allocator_device.cpp: what a request that no free block fits leads to.
  BlockIndex get_from_device(const Request& request, StreamEvents& events);
  BlockIndex release_and_retry(const Request& request, StreamEvents& events);
  BlockIndex record_and_go_on(const Request& request, CachingAllocator before);
  BlockIndex new_segment(const Request& request, bool is_retry);
  void reject_early(const Request& request);
  OutOfMemoryReport report(const Request& request) const;
  [[noreturn]] void fail(const Request& request);
  void collect_garbage(StreamEvents& events, LocationNumber location);
  std::vector<BlockIndex> unsplit_blocks(PoolNumber pool);
  bool release_oversize_blocks(const Request& request, StreamEvents& events);
  void release_cached_blocks(StreamEvents& events, LocationNumber location);
  void release_blocks(PoolNumber pool, StreamEvents& events, LocationNumber location);
  void release_block(BlockIndex block, StreamEvents& events, LocationNumber location);

  // caching_allocator_events.cpp
  void wait_for_streams(BlockIndex block, StreamEvents& events);
  void process_events(StreamEvents& events, LocationNumber location);
  void synchronize_and_free(StreamEvents& events, LocationNumber location);

  // caching_allocator_expandable.cpp
  BlockIndex take_expandable(const Request& request);
  BlockIndex find_expandable(const Request& request);
  bool map_block(BlockIndex block, std::uint64_t size_bytes, LocationNumber location);
  void unmap_block(BlockIndex block, StreamEvents& events, LocationNumber location);
  void insert_unmapped(BlockIndex block);
  void erase_unmapped(const Block& block);
  void splice(BlockIndex block, BlockIndex previous, BlockIndex next);

  AllocatorSettings settings_;
  AllocatorStatistics statistics_;
  DeviceMemory device_;
  std::int32_t device_index_;
  OutOfMemoryPolicy policy_;
  bool has_fraction_ = false;
  std::uint64_t allowed_bytes_ = 0;
  std::uint64_t reserved_bytes_ = 0;
  std::uint32_t segment_count_ = 0;
  bool prefers_older_segments_;

  std::vector<Block> blocks_;
  std::vector<BlockIndex> unused_blocks_;
  std::array<Pool, 2> pools_;
  std::vector<ExpandableSegment> segments_;
  // Of the blocks that have any.
  std::unordered_map<BlockIndex, StreamSet> stream_uses_;
  StreamTable<EventQueue> pending_events_;

  std::optional<OutOfMemoryReport> recorded_;
  MemoryHistory history_;
  std::int64_t time_us_ = 0;
};

}  // namespace torch_remote::emulator
