// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Ranges of addresses, and the pieces of them that are segments. Segments are few, and asking for
// one is rare.
#include "emulator/allocator/device_memory.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

namespace torch_remote::emulator {
namespace {

// Where CUDA's addresses lie on Linux, roughly; expandable segments are far above the rest.
constexpr std::uint64_t kTopAddress = 0x7000'0000'0000;
constexpr std::uint64_t kFirstReservation = 0x7800'0000'0000;

constexpr std::uint64_t kRangeBytes = std::uint64_t{32} << 20;
// A hole has to be larger than the range by at least a page.
constexpr std::uint64_t kSpareBytes = kDevicePageBytes;

std::uint64_t round_up(std::uint64_t size_bytes, std::uint64_t factor) {
  return (size_bytes + factor - 1) / factor * factor;
}

}  // namespace

DeviceMemory::DeviceMemory(std::uint64_t total_bytes, std::uint64_t used_bytes)
    : total_bytes_(total_bytes), used_bytes_(used_bytes) {}

std::optional<std::uint64_t> DeviceMemory::allocate(std::uint64_t size_bytes) {
  const std::uint64_t taken_bytes = round_up(size_bytes, kDevicePageBytes);
  if (!map(taken_bytes)) return std::nullopt;
  if (!places_.empty()) return take_place(taken_bytes);
  const std::uint64_t address = take_in_a_range(taken_bytes);
  return address != 0 ? address : take_new_range(taken_bytes);
}

std::uint64_t DeviceMemory::take_in_a_range(std::uint64_t size_bytes) {
  for (Range& range : ranges_) {
    std::uint64_t address = range.address;
    const auto place = first_fit(range.taken, address, size_bytes);
    if (range.end() - address < size_bytes) continue;
    range.taken.insert(place, {.address = address, .size_bytes = size_bytes});
    return address;
  }
  return 0;
}

std::uint64_t DeviceMemory::take_new_range(std::uint64_t size_bytes) {
  const std::uint64_t range_bytes = round_up(size_bytes, kRangeBytes);
  std::uint64_t end = kTopAddress;
  auto place = ranges_.end();
  while (place != ranges_.begin() && end - std::prev(place)->end() < range_bytes + kSpareBytes)
    end = (--place)->address;
  Range range;
  range.address = end - range_bytes;
  range.size_bytes = range_bytes;
  range.taken.push_back({.address = range.address, .size_bytes = size_bytes});
  return ranges_.insert(place, std::move(range))->address;
}

void DeviceMemory::free(std::uint64_t address) {
  const auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), address,
                       [](std::uint64_t left, const Range& right) { return left < right.address; });
  assert(after != ranges_.begin() && "no segment begins here");
  const auto range = std::prev(after);
  const auto piece = std::find_if(range->taken.begin(), range->taken.end(),
                                  [&](const Piece& taken) { return taken.address == address; });
  assert(piece != range->taken.end() && "no segment begins here");
  unmap(piece->size_bytes);
  range->taken.erase(piece);
  if (range->taken.empty() && range->size_bytes > kRangeBytes) ranges_.erase(range);
}

// The piece before which there is room; the address, at first the beginning, becomes that of the
// room.
std::vector<DeviceMemory::Piece>::iterator DeviceMemory::first_fit(std::vector<Piece>& taken,
                                                                   std::uint64_t& address,
                                                                   std::uint64_t size_bytes) {
  auto place = taken.begin();
  while (place != taken.end() && place->address - address < size_bytes) address = (place++)->end();
  return place;
}

void DeviceMemory::place_segments(std::vector<std::uint64_t> addresses) {
  std::reverse(addresses.begin(), addresses.end());
  places_ = std::move(addresses);
}

std::uint64_t DeviceMemory::take_place(std::uint64_t size_bytes) {
  Range range;
  range.address = places_.back();
  range.size_bytes = size_bytes;
  range.taken.push_back({.address = range.address, .size_bytes = size_bytes});
  places_.pop_back();
  const auto place =
      std::lower_bound(ranges_.begin(), ranges_.end(), range.address,
                       [](const Range& left, std::uint64_t right) { return left.address < right; });
  return ranges_.insert(place, std::move(range))->address;
}

std::uint64_t DeviceMemory::reserve_addresses(std::uint64_t size_bytes) {
  const std::uint64_t taken_bytes = round_up(size_bytes, kRangeBytes);
  std::uint64_t address = kFirstReservation;
  const auto place = first_fit(reserved_, address, taken_bytes);
  reserved_.insert(place, {.address = address, .size_bytes = taken_bytes});
  return address;
}

void DeviceMemory::free_addresses(std::uint64_t address) {
  std::erase_if(reserved_, [&](const Piece& piece) { return piece.address == address; });
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
