// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/allocator_statistics.h"

#include <array>
#include <c10/util/Exception.h>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace torch_remote::executor::libtorch {
namespace {

using c10::CachingAllocator::Stat;
using c10::CachingAllocator::StatArray;
using c10::CachingDeviceAllocator::DeviceStats;

void add(protocol::Numbers& numbers, const std::string& name, const Stat& stat) {
  numbers[name + ".current"] = stat.current;
  numbers[name + ".peak"] = stat.peak;
  numbers[name + ".allocated"] = stat.allocated;
  numbers[name + ".freed"] = stat.freed;
}

void add(protocol::Numbers& numbers, const std::string& name, const StatArray& stats) {
  // In the order of c10::CachingAllocator::StatType.
  constexpr std::array<const char*, 3> kPools = {"all", "small_pool", "large_pool"};
  for (std::size_t i = 0; i < kPools.size(); ++i) add(numbers, name + "." + kPools[i], stats[i]);
}

void add_memory_info(protocol::Numbers& numbers, c10::DeviceAllocator& allocator,
                     c10::DeviceIndex index) {
  try {
    const auto [free_bytes, total_bytes] = allocator.getMemoryInfo(index);
    numbers["free_bytes"] = static_cast<std::int64_t>(free_bytes);
    numbers["total_bytes"] = static_cast<std::int64_t>(total_bytes);
  } catch (const c10::NotImplementedError&) {
    // Not every allocator can tell.
  }
}

}  // namespace

c10::DeviceAllocator& device_allocator(c10::Device device) {
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  TORCH_CHECK_NOT_IMPLEMENTED(allocator != nullptr, "the allocator of ", device,
                              " has no statistics");
  return *allocator;
}

protocol::Numbers allocator_statistics(c10::Device device) {
  c10::DeviceAllocator& allocator = device_allocator(device);
  const DeviceStats stats = allocator.getDeviceStats(device.index());
  protocol::Numbers numbers;
  const std::pair<const char*, const StatArray*> by_pool[] = {
      {"allocation", &stats.allocation},
      {"segment", &stats.segment},
      {"active", &stats.active},
      {"inactive_split", &stats.inactive_split},
      {"allocated_bytes", &stats.allocated_bytes},
      {"reserved_bytes", &stats.reserved_bytes},
      {"active_bytes", &stats.active_bytes},
      {"inactive_split_bytes", &stats.inactive_split_bytes},
      {"requested_bytes", &stats.requested_bytes}};
  for (const auto& [name, array] : by_pool) add(numbers, name, *array);
  add(numbers, "oversize_allocations", stats.oversize_allocations);
  add(numbers, "oversize_segments", stats.oversize_segments);
  numbers["num_alloc_retries"] = stats.num_alloc_retries;
  numbers["num_ooms"] = stats.num_ooms;
  numbers["num_sync_all_streams"] = stats.num_sync_all_streams;
  numbers["num_device_alloc"] = stats.num_device_alloc;
  numbers["num_device_free"] = stats.num_device_free;
  numbers["max_split_size"] = stats.max_split_size;
  add_memory_info(numbers, allocator, device.index());
  return numbers;
}

}  // namespace torch_remote::executor::libtorch
