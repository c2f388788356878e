// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Which grids GPUs start, and how far offsets move.
#include "emulator/random/grid.h"

#include <gtest/gtest.h>
#include <map>
#include <string_view>

namespace torch_remote::emulator::random {
namespace {

TEST(GridTest, TheLargestGridOfEachGpu) {
  const std::map<std::string_view, std::uint64_t> threads{
      {"T4", 40960},    {"L4", 89088},    {"A10G", 122880},
      {"L40S", 218112}, {"H100", 270336}, {"A100-40GB", 221184},
      {"H200", 270336}, {"B200", 303104}, {"A100-80GB", 221184}};
  for (const auto& [type, expected] : threads) {
    const Card card = card_of(gpu_model(type));
    EXPECT_EQ(card.block_count_max() * kThreadsPerBlock, expected) << type;
    EXPECT_EQ(cover(card, 1 << 30, 4).threads, expected);
    EXPECT_EQ(card.has_flash_attention, type != "T4");
  }
}

TEST(GridTest, SmallTensorsHaveWholeBlocks) {
  const Card card = card_of(gpu_model("T4"));
  EXPECT_EQ(cover(card, 1, 4).threads, 256u);
  EXPECT_EQ(cover(card, 256, 4).threads, 256u);
  EXPECT_EQ(cover(card, 257, 4).threads, 512u);
}

TEST(GridTest, OffsetsMoveByFourForEachDrawOfAThread) {
  const Card card = card_of(gpu_model("T4"));
  EXPECT_EQ(cover(card, 4 * 40960, 4).offset_increment(), 4u);
  EXPECT_EQ(cover(card, 4 * 40960 + 1, 4).offset_increment(), 8u);
  EXPECT_EQ(cover(card, 2 * 40960 + 1, 2).offset_increment(), 8u);
  EXPECT_EQ(round_up_to_four(10), 12u);
  EXPECT_EQ(round_up_to_four(20), 20u);
}

}  // namespace
}  // namespace torch_remote::emulator::random
