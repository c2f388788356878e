// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// First fit over the ranges that are taken. Segments are few, and asking for one is rare.
#include "emulator/allocator/device_memory.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <optional>

namespace torch_remote::emulator {
namespace {

// Where CUDA's addresses lie on Linux, roughly; expandable segments are far above the rest.
constexpr std::uint64_t kFirstAddress = 0x7000'0000'0000;
constexpr std::uint64_t kFirstReservation = 0x7800'0000'0000;

std::uint64_t whole_pages(std::uint64_t size_bytes) {
  return (size_bytes + kDevicePageBytes - 1) / kDevicePageBytes * kDevicePageBytes;
}

}  // namespace

DeviceMemory::DeviceMemory(std::uint64_t total_bytes, std::uint64_t used_bytes)
    : total_bytes_(total_bytes), used_bytes_(used_bytes), next_reservation_(kFirstReservation) {}

std::optional<std::uint64_t> DeviceMemory::allocate(std::uint64_t size_bytes) {
  const std::uint64_t taken_bytes = whole_pages(size_bytes);
  if (!map(taken_bytes)) return std::nullopt;
  std::uint64_t address = kFirstAddress;
  auto place = ranges_.begin();
  for (; place != ranges_.end() && place->address - address < taken_bytes; ++place)
    address = place->address + place->size_bytes;
  ranges_.insert(place, {.address = address, .size_bytes = taken_bytes});
  return address;
}

void DeviceMemory::free(std::uint64_t address) {
  const auto range =
      std::lower_bound(ranges_.begin(), ranges_.end(), address,
                       [](const Range& left, std::uint64_t right) { return left.address < right; });
  assert(range != ranges_.end() && range->address == address && "no segment begins here");
  unmap(range->size_bytes);
  ranges_.erase(range);
}

std::uint64_t DeviceMemory::reserve_addresses(std::uint64_t size_bytes) {
  const std::uint64_t address = next_reservation_;
  next_reservation_ += whole_pages(size_bytes);
  return address;
}

bool DeviceMemory::map(std::uint64_t size_bytes) {
  if (!is_unlimited_ && size_bytes > free_bytes()) return false;
  used_bytes_ += size_bytes;
  return true;
}

void DeviceMemory::unmap(std::uint64_t size_bytes) {
  assert(used_bytes_ >= size_bytes);
  used_bytes_ -= size_bytes;
}

}  // namespace torch_remote::emulator
