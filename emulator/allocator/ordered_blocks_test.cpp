// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Tests the sorted list of free blocks against std::set, and the table of streams' order.
#include "emulator/allocator/ordered_blocks.h"

#include <cstddef>
#include <cstdint>
#include <gtest/gtest.h>
#include <random>
#include <set>
#include <tuple>

#include "emulator/allocator/stream_table.h"

namespace torch_remote::emulator {
namespace {

struct Row {
  std::uint64_t size_bytes;
  std::uint32_t segment;
  std::uint64_t address;
  bool operator<(const Row& other) const {
    return std::tie(size_bytes, segment, address) <
           std::tie(other.size_bytes, other.segment, other.address);
  }
  OrderedBlocks::Key key() const { return {size_bytes, segment, address}; }
};

TEST(OrderedBlocks, AreASortedSet) {
  std::mt19937_64 random(5);
  OrderedBlocks blocks;
  std::set<Row> expected;
  for (int step = 0; step < 20'000; ++step) {
    const Row row{.size_bytes = 512 * (1 + random() % 40),
                  .segment = static_cast<std::uint32_t>(random() % 4),
                  .address = 512 * (random() % 16)};
    if (expected.contains(row)) {
      blocks.erase(row.key());
      expected.erase(row);
    } else {
      blocks.insert({.key = row.key(), .block = row.segment});
      expected.insert(row);
    }
    if (step % 100 != 0) continue;
    auto place = blocks.begin();
    for (const Row& wanted : expected) {
      ASSERT_EQ(blocks.at(place).key.size_bytes(), wanted.size_bytes);
      ASSERT_EQ(blocks.at(place).block, wanted.segment);
      place = blocks.next(place);
    }
    ASSERT_EQ(place, blocks.end());
    const std::uint64_t size_bytes = 512 * (random() % 45);
    const auto bound = expected.lower_bound({.size_bytes = size_bytes, .segment = 0, .address = 0});
    const auto found = blocks.lower_bound(size_bytes);
    ASSERT_EQ(found == blocks.end(), bound == expected.end());
    if (bound == expected.end()) continue;
    ASSERT_EQ(blocks.at(found).key.size_bytes(), bound->size_bytes);
    if (bound != expected.begin()) {
      ASSERT_LT(blocks.at(blocks.previous(found)).key.size_bytes(), size_bytes);
    }
  }
  EXPECT_GT(expected.size(), 500u);
}

TEST(OrderedBlocks, OfACopyAreItsOwn) {
  OrderedBlocks blocks;
  blocks.insert({.key = {512, 0, 0}, .block = 1});
  OrderedBlocks copy = blocks;
  blocks.erase(blocks.begin());
  EXPECT_TRUE(blocks.empty());
  EXPECT_EQ(copy.at(copy.begin()).block, 1u);
}

TEST(StreamTable, KeepsAndForgetsValues) {
  StreamTable<int> table;
  for (StreamNumber stream = 0; stream < 65; ++stream) table.at(stream, 0) = 100 + stream;
  EXPECT_EQ(table.size(), 65u);
  for (StreamNumber stream = 0; stream < 65; ++stream)
    EXPECT_EQ(table.at(stream, 0), 100 + static_cast<int>(stream));
  std::size_t slot = 0;
  while (slot < table.slots().size()) {
    if (table.slots()[slot].distance >= 0 && table.slots()[slot].stream % 2 == 0) {
      table.erase(slot);  // what was displaced is in this slot now
    } else {
      ++slot;
    }
  }
  EXPECT_EQ(table.size(), 32u);
  for (StreamNumber stream = 1; stream < 65; stream += 2)
    EXPECT_EQ(table.at(stream, 0), 100 + static_cast<int>(stream));
  EXPECT_EQ(table.size(), 32u);
  table.clear();
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(table.at(7, 0), 0);
}

TEST(StreamTable, HashesStreamsAsPyTorchDoes) {
  // c10::Stream::hash(): the kind of device, its index, and the stream's id, which has its number
  // in the pool, its kind and a bit for "of the pool".
  EXPECT_EQ(stream_hash(0, 0), std::uint64_t{1} << 56);
  EXPECT_EQ(stream_hash(0, 3), std::uint64_t{1} << 56 | std::uint64_t{3} << 48);
  EXPECT_EQ(stream_hash(1, 0) & 0xff, 3u);
  EXPECT_EQ(stream_hash(2, 0) & 0xff, 35u);
  EXPECT_EQ(stream_hash(33, 0) & 0xff, 5u);
}

}  // namespace
}  // namespace torch_remote::emulator
