// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The plan table against a model that searches linearly.
#include "core/session/plan_table.h"

#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>

namespace torch_remote::session {
namespace {

using Key = std::vector<std::uint64_t>;

TEST(PlanTableTest, HashesTellKeysApart) {
  std::set<std::uint64_t> hashes;
  std::set<Key> keys;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    for (const Key& key : {Key{i}, Key{i, 0}, Key{0, i}, Key{1, 2, i}, Key{i << 32, 5, 6, 7}}) {
      if (keys.insert(key).second) hashes.insert(hash_plan_key(key));
    }
  }
  EXPECT_EQ(hashes.size(), keys.size());
}

TEST(PlanTableTest, HoldsOnePlanAtCapacityOneAndZero) {
  for (const std::uint32_t capacity : {0u, 1u}) {
    PlanTable table(capacity);
    EXPECT_EQ(table.capacity(), 1u);
    const Key first{1, 2};
    const Key second{3};
    EXPECT_EQ(table.insert(first, hash_plan_key(first)), 0u);
    EXPECT_EQ(table.find(first, hash_plan_key(first)), 0u);
    EXPECT_EQ(table.insert(second, hash_plan_key(second)), 0u);
    EXPECT_EQ(table.find(first, hash_plan_key(first)), std::nullopt);
    EXPECT_EQ(table.find(second, hash_plan_key(second)), 0u);
    EXPECT_EQ(table.size(), 1u);
  }
}

TEST(PlanTableTest, EvictionSparesWhatWasFoundOfLate) {
  PlanTable table(4);
  const auto insert = [&](std::uint64_t word) {
    const Key key{word};
    return table.insert(key, hash_plan_key(key));
  };
  const auto find = [&](std::uint64_t word) {
    const Key key{word};
    return table.find(key, hash_plan_key(key));
  };
  for (std::uint64_t word = 0; word < 4; ++word) EXPECT_EQ(insert(word), word);
  for (const std::uint64_t word : {0, 1, 3}) find(word);
  EXPECT_EQ(insert(4), 2u);
  EXPECT_EQ(find(2), std::nullopt);
  for (const std::uint64_t word : {0, 1, 3, 4}) EXPECT_TRUE(find(word)) << word;
}

// hash_bits below 64 makes keys collide, so that long probe sequences are cut and closed.
void compare_with_model(std::uint32_t capacity, unsigned key_count, unsigned hash_bits,
                        unsigned seed) {
  SCOPED_TRACE("seed " + std::to_string(seed) + ", capacity " + std::to_string(capacity));
  std::mt19937 random(seed);
  PlanTable table(capacity);
  std::map<std::uint32_t, Key> model;  // by number
  for (int step = 0; step < 20'000; ++step) {
    const std::uint64_t word = random() % key_count;
    const Key key(1 + word % 3, word);
    const std::uint64_t hash = hash_plan_key(key) >> (64 - hash_bits);
    const auto found = table.find(key, hash);
    const auto expected = std::find_if(model.begin(), model.end(),
                                       [&](const auto& row) { return row.second == key; });
    ASSERT_EQ(found.has_value(), expected != model.end());
    if (found) {
      ASSERT_EQ(*found, expected->first);
    } else {
      const std::uint32_t number = table.insert(key, hash);
      ASSERT_LT(number, capacity);
      model[number] = key;
      ASSERT_EQ(table.find(key, hash), number);
    }
    ASSERT_EQ(table.size(), model.size());
  }
}

TEST(PlanTableTest, AgreesWithAModel) {
  for (unsigned seed = 1; seed <= 3; ++seed) {
    compare_with_model(1, 3, 64, seed);
    compare_with_model(7, 10, 64, seed);
    compare_with_model(64, 100, 64, seed);
    compare_with_model(64, 100, 3, seed);
    compare_with_model(37, 60, 6, seed);
  }
}

}  // namespace
}  // namespace torch_remote::session
