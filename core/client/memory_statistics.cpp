// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/memory_statistics.h"

#include <algorithm>
#include <array>
#include <string>

#include "core/session/session.h"

namespace torch_remote::client {
namespace {

using c10::CachingAllocator::Stat;
using c10::CachingAllocator::StatArray;
using c10::CachingDeviceAllocator::DeviceStats;
using protocol::Numbers;

void add(Numbers& numbers, const std::string& name, std::uint64_t current, std::uint64_t peak,
         std::uint64_t total) {
  numbers[name + ".current"] = static_cast<std::int64_t>(current);
  numbers[name + ".peak"] = static_cast<std::int64_t>(peak);
  numbers[name + ".allocated"] = static_cast<std::int64_t>(total);
  numbers[name + ".freed"] = static_cast<std::int64_t>(total - current);
}

Numbers own_counts(Device& device) {
  const session::SessionStatistics counts = device.session().statistics();
  Numbers numbers;
  for (const char* name : {"allocation.all", "active.all"})
    add(numbers, name, counts.storages, counts.storages_peak, counts.storages_total);
  for (const char* name :
       {"allocated_bytes.all", "active_bytes.all", "requested_bytes.all", "reserved_bytes.all"}) {
    add(numbers, name, counts.allocated_bytes, counts.allocated_bytes_peak,
        counts.allocated_bytes_total);
  }
  numbers["num_ooms"] = static_cast<std::int64_t>(counts.refused_storages);
  if (const std::uint64_t total_bytes = device.memory_size_bytes(); total_bytes > 0) {
    const std::uint64_t used_bytes = std::min(counts.allocated_bytes, total_bytes);
    numbers["free_bytes"] = static_cast<std::int64_t>(total_bytes - used_bytes);
    numbers["total_bytes"] = static_cast<std::int64_t>(total_bytes);
  }
  return numbers;
}

Numbers all_numbers(Device& device) {
  if (auto modelled = device.session().modelled_memory_statistics()) return *std::move(modelled);
  return device.session().welcome().description.contains("allocator")
             ? device.session().memory_statistics()
             : own_counts(device);
}

bool is_accumulated(const std::string& name) {
  return name.ends_with(".allocated") || name.ends_with(".freed");
}

std::int64_t value_of(const Numbers& numbers, const std::string& name) {
  const auto found = numbers.find(name);
  return found == numbers.end() ? 0 : found->second;
}

Stat stat_of(const Numbers& numbers, const std::string& name) {
  Stat stat;
  stat.current = value_of(numbers, name + ".current");
  stat.peak = value_of(numbers, name + ".peak");
  stat.allocated = value_of(numbers, name + ".allocated");
  stat.freed = value_of(numbers, name + ".freed");
  return stat;
}

StatArray stats_of(const Numbers& numbers, const std::string& name) {
  // In the order of c10::CachingAllocator::StatType.
  constexpr std::array<const char*, 3> kPools = {".all", ".small_pool", ".large_pool"};
  StatArray stats;
  for (std::size_t i = 0; i < kPools.size(); ++i) stats.at(i) = stat_of(numbers, name + kPools[i]);
  return stats;
}

}  // namespace

Numbers memory_statistics(Device& device) {
  Numbers numbers = all_numbers(device);
  const Numbers before = device.accumulated_before();
  for (auto& [name, value] : numbers) value -= value_of(before, name);
  return numbers;
}

DeviceStats device_statistics(Device& device) {
  const Numbers numbers = memory_statistics(device);
  DeviceStats stats;
  stats.allocation = stats_of(numbers, "allocation");
  stats.segment = stats_of(numbers, "segment");
  stats.active = stats_of(numbers, "active");
  stats.inactive_split = stats_of(numbers, "inactive_split");
  stats.allocated_bytes = stats_of(numbers, "allocated_bytes");
  stats.reserved_bytes = stats_of(numbers, "reserved_bytes");
  stats.active_bytes = stats_of(numbers, "active_bytes");
  stats.inactive_split_bytes = stats_of(numbers, "inactive_split_bytes");
  stats.requested_bytes = stats_of(numbers, "requested_bytes");
  stats.oversize_allocations = stat_of(numbers, "oversize_allocations");
  stats.oversize_segments = stat_of(numbers, "oversize_segments");
  stats.num_alloc_retries = value_of(numbers, "num_alloc_retries");
  stats.num_ooms = value_of(numbers, "num_ooms");
  stats.num_sync_all_streams = value_of(numbers, "num_sync_all_streams");
  stats.num_device_alloc = value_of(numbers, "num_device_alloc");
  stats.num_device_free = value_of(numbers, "num_device_free");
  stats.max_split_size = value_of(numbers, "max_split_size");
  [&](auto& newer) {
    if constexpr (requires { newer.num_oom_rejections; })
      newer.num_oom_rejections = value_of(numbers, "num_oom_rejections");
  }(stats);
  return stats;
}

std::pair<std::uint64_t, std::uint64_t> memory_info(Device& device) {
  const Numbers numbers = all_numbers(device);
  return {static_cast<std::uint64_t>(value_of(numbers, "free_bytes")),
          static_cast<std::uint64_t>(value_of(numbers, "total_bytes"))};
}

void reset_accumulated_statistics(Device& device) {
  if (device.session().reset_accumulated_memory()) return;
  Numbers before;
  for (const auto& [name, value] : all_numbers(device)) {
    if (is_accumulated(name)) before.emplace(name, value);
  }
  device.set_accumulated_before(std::move(before));
}

}  // namespace torch_remote::client
