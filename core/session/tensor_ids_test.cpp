// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Ids: addresses that nobody can map, and no two live storages share a byte of.
#include "core/session/tensor_ids.h"

#include <deque>
#include <gtest/gtest.h>
#include <iterator>
#include <map>
#include <random>
#include <stdexcept>

namespace torch_remote::session {
namespace {

// What is live, as ranges; add() fails where two overlap.
class LiveRanges {
 public:
  void add(TensorId id, std::uint64_t size_bytes) {
    const std::uint64_t end = id + std::max<std::uint64_t>(size_bytes, 1);
    const auto next = ranges_.lower_bound(id);
    ASSERT_TRUE(next == ranges_.end() || end <= next->first);
    ASSERT_TRUE(next == ranges_.begin() || std::prev(next)->second <= id);
    ranges_.emplace_hint(next, id, end);
  }
  void remove(TensorId id) { ranges_.erase(id); }

 private:
  std::map<TensorId, TensorId> ranges_;
};

TEST(TensorIdsTest, EveryIdIsAlignedNonCanonicalAndOfItsDevice) {
  for (unsigned device = 0; device < 16; ++device) {
    TensorIds ids(device);
    for (const std::uint64_t size_bytes : {0ull, 1ull, 511ull, 512ull, 513ull, 1ull << 48}) {
      for (const TensorId id : {ids.acquire(size_bytes), ids.acquire_provisional()}) {
        EXPECT_EQ(id % TensorIds::kAlignmentBytes, 0u);
        EXPECT_EQ(id >> 61, 0b010u);
        EXPECT_EQ(id >> 55 & 1, 1u);
        EXPECT_TRUE(TensorIds::is_tensor_id(id));
        EXPECT_TRUE(TensorIds::is_tensor_id(id + size_bytes));
        EXPECT_EQ(TensorIds::device_of(id), device);
      }
    }
  }
  int on_stack = 0;
  EXPECT_FALSE(TensorIds::is_tensor_id(reinterpret_cast<std::uint64_t>(&on_stack)));
  EXPECT_FALSE(TensorIds::is_tensor_id(0));
}

TEST(TensorIdsTest, ProvisionalIdsLeaveRoomForManyOutputs) {
  TensorIds ids(3);
  const TensorId first = ids.acquire_provisional();
  EXPECT_EQ(ids.acquire_provisional() - first, 1u << 20);
  EXPECT_NE(first >> 60 & 1, ids.acquire(1) >> 60 & 1);
}

void allocate_and_free(TensorIds& ids, std::uint64_t total_bytes, std::uint64_t size_bytes_max) {
  constexpr unsigned kSeed = 7;
  constexpr std::size_t kLiveMax = 64;
  std::mt19937_64 random(kSeed);
  LiveRanges live;
  std::deque<TensorId> order;
  for (std::uint64_t allocated = 0; allocated < total_bytes;) {
    const std::uint64_t size_bytes = random() % (size_bytes_max + 1);
    const TensorId id = ids.acquire(size_bytes);
    ASSERT_NO_FATAL_FAILURE(live.add(id, size_bytes));
    order.push_back(id);
    allocated += size_bytes;
    while (order.size() > random() % kLiveMax) {
      const auto victim = order.begin() + static_cast<std::ptrdiff_t>(random() % order.size());
      live.remove(*victim);
      ids.release(*victim);
      order.erase(victim);
    }
  }
}

TEST(TensorIdsTest, TenPetabytesWithoutTwoLiveTensorsSharingAnId) {
  TensorIds ids(0);
  allocate_and_free(ids, 10'000'000'000'000'000, std::uint64_t{1} << 40);
}

TEST(TensorIdsTest, SmallArenasAreUsedAgainOnlyWhenEmpty) {
  TensorIds ids(1, 1 << 16);
  allocate_and_free(ids, 500 << 20, 1 << 13);
}

TEST(TensorIdsTest, ATensorThatStaysKeepsItsArena) {
  TensorIds ids(0, 4096);
  const TensorId kept = ids.acquire(1);
  for (int i = 0; i < 10'000; ++i) {
    const TensorId id = ids.acquire(4096);
    ASSERT_NE(id >> TensorIds::kArenaBits, kept >> TensorIds::kArenaBits);
    ids.release(id);
  }
}

TEST(TensorIdsTest, RunsOutWithAReasonAndRecovers) {
  TensorIds ids(0, 4096);
  EXPECT_THROW(ids.acquire(4097), std::length_error);
  std::vector<TensorId> live;
  for (unsigned i = 0; i < TensorIds::kArenaCount; ++i) live.push_back(ids.acquire(4096));
  EXPECT_THROW(ids.acquire(1), std::length_error);
  ids.release(live[17]);
  EXPECT_EQ(ids.acquire(1), live[17]);
}

}  // namespace
}  // namespace torch_remote::session
