// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Every place has its own number, the share that stays is the one asked for, and edges are cut off.
#include "emulator/random/attention_dropout.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <vector>

#include "emulator/random/philox.h"
#include "emulator/random/transforms.h"

namespace torch_remote::emulator::random {
namespace {

double share(const std::vector<float>& kept) {
  return static_cast<double>(std::ranges::count(kept, 1.0f)) / static_cast<double>(kept.size());
}

TEST(AttentionDropoutTest, TheEfficientKernelCountsPlaces) {
  const ScoresShape shape{.head_count = 3, .query_count = 5, .key_count = 7};
  std::vector<float> kept(shape.element_count(), -1);
  efficient_kept(shape, 11, 24, 0.3, kept);
  ThreadNumbers numbers(11, 0, 24);
  for (const float flag : kept) EXPECT_EQ(flag, uniform_float(numbers.next()) > 0.3f ? 1 : 0);
  EXPECT_EQ(efficient_increment(shape), 105u);
}

TEST(AttentionDropoutTest, FlashWritesEveryPlace) {
  const ScoresShape shape{.head_count = 2, .query_count = 37, .key_count = 75};
  std::vector<float> kept(shape.element_count(), -1);
  flash_kept(shape, 3, 64, 0.25, kept);
  EXPECT_EQ(std::ranges::count(kept, -1.0f), 0);
  EXPECT_NEAR(share(kept), 0.75, 0.02);
  EXPECT_EQ(flash_increment(shape), 64u);
}

TEST(AttentionDropoutTest, FlashPlacesDependOnNoLength) {
  const ScoresShape large{.head_count = 1, .query_count = 64, .key_count = 96};
  const ScoresShape small{.head_count = 1, .query_count = 33, .key_count = 50};
  std::vector<float> all(large.element_count()), some(small.element_count());
  flash_kept(large, 3, 4, 0.5, all);
  flash_kept(small, 3, 4, 0.5, some);
  for (std::size_t q = 0; q < 33; ++q) {
    for (std::size_t k = 0; k < 50; ++k) ASSERT_EQ(some[q * 50 + k], all[q * 96 + k]);
  }
}

}  // namespace
}  // namespace torch_remote::emulator::random
