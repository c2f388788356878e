// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The cipher's published vectors, and that runs and single threads are made of the same blocks.
#include "emulator/random/philox.h"

#include <gtest/gtest.h>
#include <memory>

namespace torch_remote::emulator::random {
namespace {

// Random123's kat_vectors, philox4x32 with 10 and 7 rounds.
TEST(PhiloxTest, KnownAnswers) {
  EXPECT_EQ(philox(0, 0, 0), (Bits4{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}));
  const std::uint64_t ones = ~std::uint64_t{0};
  EXPECT_EQ(philox(ones, ones, ones), (Bits4{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}));
  EXPECT_EQ(philox(0x299F31D0A4093822, 0x85A308D3243F6A88, 0x0370734413198A2E),
            (Bits4{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}));
  EXPECT_EQ(philox<7>(0, 0, 0), (Bits4{0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48}));
}

TEST(PhiloxTest, RunsAreThreadsInARow) {
  const auto bits = std::make_unique<RunBits>();
  // The last one carries into the high half of the threads' numbers.
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{1000}, std::uint64_t{1} << 40,
                                    (std::uint64_t{1} << 32) - 5}) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{13}, kRunMax}) {
      philox_threads(77, std::uint64_t{3} << 33, first, count, *bits);
      for (std::size_t i = 0; i < count; ++i) {
        const Bits4 expected = philox(77, std::uint64_t{3} << 33, first + i);
        for (std::size_t lane = 0; lane < 4; ++lane)
          ASSERT_EQ((*bits)[lane][i], expected[lane]) << first << " " << i;
      }
    }
  }
}

TEST(PhiloxTest, AThreadGoesOnFromAnyOffset) {
  ThreadNumbers numbers(5, 9, 6);
  EXPECT_EQ(numbers.next(), philox(5, 1, 9)[2]);
  EXPECT_EQ(numbers.next(), philox(5, 1, 9)[3]);
  EXPECT_EQ(numbers.next4(), philox(5, 2, 9));
  EXPECT_EQ(numbers.next(), philox(5, 3, 9)[0]);
}

TEST(PhiloxTest, OffsetsReachTheirWholeRange) {
  ThreadNumbers last(5, 9, ~std::uint64_t{3});
  for (int i = 0; i < 4; ++i) last.next();
  EXPECT_EQ(last.next(), philox(5, std::uint64_t{1} << 62, 9)[0]);
}

}  // namespace
}  // namespace torch_remote::emulator::random
