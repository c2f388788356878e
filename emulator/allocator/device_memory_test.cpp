// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Tests what of a device is used, and where the driver puts segments.
#include "emulator/allocator/device_memory.h"

#include <cstdint>
#include <gtest/gtest.h>

namespace torch_remote::emulator {
namespace {

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;

TEST(DeviceMemory, CountsPages) {
  DeviceMemory memory(100 * kMib, 10 * kMib);
  const auto one = memory.allocate(3 * kMib);
  ASSERT_TRUE(one);
  EXPECT_EQ(memory.free_bytes(), 86 * kMib);
  EXPECT_FALSE(memory.allocate(87 * kMib));
  EXPECT_TRUE(memory.map(86 * kMib));
  EXPECT_FALSE(memory.map(1));
  memory.unmap(86 * kMib);
  memory.free(*one);
  EXPECT_EQ(memory.used_bytes(), 10 * kMib);
}

TEST(DeviceMemory, WithoutALimitRefusesNothing) {
  DeviceMemory memory(100 * kMib, 0);
  memory.become_unlimited();
  EXPECT_TRUE(memory.allocate(300 * kMib));
  EXPECT_EQ(memory.used_bytes(), 300 * kMib);
  EXPECT_EQ(memory.free_bytes(), 0u);
}

// As recordings of allocators on an H100 and an H200 show it.
TEST(DeviceMemory, GrowsDownwardsInRangesOf32Mib) {
  DeviceMemory memory(4096 * kMib, 0);
  const std::uint64_t first = memory.allocate(20 * kMib).value();
  EXPECT_EQ(memory.allocate(2 * kMib), first + 20 * kMib);
  const std::uint64_t second = memory.allocate(20 * kMib).value();
  EXPECT_EQ(second, first - 32 * kMib);
  // The lowest range with room.
  EXPECT_EQ(memory.allocate(10 * kMib), second + 20 * kMib);
  const std::uint64_t large = memory.allocate(100 * kMib).value();
  EXPECT_EQ(large, second - 128 * kMib);
  EXPECT_EQ(memory.allocate(28 * kMib), large + 100 * kMib);
}

TEST(DeviceMemory, GivesUpLargeRangesThatAreEmpty) {
  DeviceMemory memory(4096 * kMib, 0);
  const std::uint64_t large = memory.allocate(128 * kMib).value();
  const std::uint64_t small = memory.allocate(30 * kMib).value();
  EXPECT_EQ(small, large - 32 * kMib);
  memory.free(large);
  // A hole has to be larger than the range that is put into it.
  EXPECT_EQ(memory.allocate(126 * kMib), small - 128 * kMib);
  EXPECT_EQ(memory.allocate(64 * kMib), large + 64 * kMib);
  memory.free(small);
  EXPECT_EQ(memory.allocate(20 * kMib), small);
}

TEST(DeviceMemory, PutsSegmentsWhereItIsTold) {
  DeviceMemory memory(4096 * kMib, 0);
  memory.place_segments({800 * kMib, 400 * kMib});
  EXPECT_EQ(memory.allocate(2 * kMib), 800 * kMib);
  EXPECT_EQ(memory.allocate(2 * kMib), 400 * kMib);
  memory.free(800 * kMib);
  memory.free(400 * kMib);
  EXPECT_EQ(memory.used_bytes(), 0u);
}

TEST(DeviceMemory, ReservesAddressesInTheLowestHole) {
  DeviceMemory memory(4096 * kMib, 0);
  const std::uint64_t first = memory.reserve_addresses(100 * kMib);
  const std::uint64_t second = memory.reserve_addresses(100 * kMib);
  EXPECT_EQ(second, first + 128 * kMib);
  memory.free_addresses(first);
  EXPECT_EQ(memory.reserve_addresses(64 * kMib), first);
}

}  // namespace
}  // namespace torch_remote::emulator
