// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Names and resets of the allocator's counters.
#include "emulator/allocator/allocator_statistics.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace torch_remote::emulator {
namespace {

using FlatStatistics = std::vector<std::pair<std::string, std::int64_t>>;

// operation(name, counters) for each that is kept apart by pool.
template <typename Statistics, typename Operation>
void for_each_pool_counter(Statistics& statistics, Operation operation) {
  operation("active", statistics.active);
  operation("active_bytes", statistics.active_bytes);
  operation("allocated_bytes", statistics.allocated_bytes);
  operation("allocation", statistics.allocation);
  operation("inactive_split", statistics.inactive_split);
  operation("inactive_split_bytes", statistics.inactive_split_bytes);
  operation("requested_bytes", statistics.requested_bytes);
  operation("reserved_bytes", statistics.reserved_bytes);
  operation("segment", statistics.segment);
}

template <typename Statistics, typename Operation>
void for_each_counter(Statistics& statistics, Operation operation) {
  for_each_pool_counter(statistics, [&](std::string_view, auto& counter) {
    operation(counter.all);
    for (auto& pool : counter.pools) operation(pool);
  });
  operation(statistics.oversize_allocations);
  operation(statistics.oversize_segments);
}

void append(FlatStatistics& flat, const std::string& name, const Counter& counter) {
  flat.emplace_back(name + ".allocated", counter.allocated);
  flat.emplace_back(name + ".current", counter.current);
  flat.emplace_back(name + ".freed", counter.freed);
  flat.emplace_back(name + ".peak", counter.peak);
}

}  // namespace

void AllocatorStatistics::reset_peak() {
  for_each_counter(*this, [](Counter& counter) { counter.reset_peak(); });
}

void AllocatorStatistics::reset_accumulated() {
  for_each_counter(*this, [](Counter& counter) { counter.reset_accumulated(); });
  num_alloc_retries = num_ooms = num_sync_all_streams = 0;
  num_device_alloc = num_device_free = num_oom_rejections = 0;
}

FlatStatistics flat_statistics(const AllocatorStatistics& statistics) {
  FlatStatistics flat;
  flat.reserve(124);
  for_each_pool_counter(statistics, [&](std::string_view name, const PoolCounter& counter) {
    append(flat, std::string(name) + ".all", counter.all);
    append(flat, std::string(name) + ".large_pool", counter.pools[1]);
    append(flat, std::string(name) + ".small_pool", counter.pools[0]);
  });
  flat.emplace_back("max_split_size", statistics.max_split_size);
  flat.emplace_back("num_alloc_retries", statistics.num_alloc_retries);
  flat.emplace_back("num_device_alloc", statistics.num_device_alloc);
  flat.emplace_back("num_device_free", statistics.num_device_free);
  flat.emplace_back("num_oom_rejections", statistics.num_oom_rejections);
  flat.emplace_back("num_ooms", statistics.num_ooms);
  flat.emplace_back("num_sync_all_streams", statistics.num_sync_all_streams);
  append(flat, "oversize_allocations", statistics.oversize_allocations);
  append(flat, "oversize_segments", statistics.oversize_segments);
  return flat;
}

}  // namespace torch_remote::emulator
