// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Conversions at the ends of their ranges; the GPU's functions, by all that one has answered and by
// how near they are to the exact ones.
#include "emulator/random/transforms.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <gtest/gtest.h>
#include <limits>
#include <numbers>
#include <vector>

namespace torch_remote::emulator::random {
namespace {

TEST(TransformsTest, UniformNumbersAreAboveZeroAndUpToOne) {
  EXPECT_EQ(uniform_float(0), 0x1p-33f);
  EXPECT_EQ(uniform_float(0xFFFFFFFF), 1.0f);
  EXPECT_EQ(uniform_float(0xFFFFFF00), 1.0f - 0x1p-24f);
  EXPECT_EQ(uniform_double(0, 0), 0x1p-54);
  EXPECT_EQ(uniform_double(0xFFFFFFFF, 0), 0xFFFFFFFFp-53 + 0x1p-54);
  EXPECT_LE(uniform_double(0xFFFFFFFF, 0xFFFFFFFF), 1.0);
}

// The GPU's errors are known: CUDA C++ Programming Guide, "Intrinsic Functions".
TEST(TransformsTest, FunctionsAreAsExactAsTheGpus) {
  for (float x = 0x1p-33f; x <= 1.0f; x *= 1.0371f) {
    const double exact = std::log(double{x});
    EXPECT_NEAR(log_float(x), exact, 0x1p-23 * std::max(0x1p-20, std::fabs(exact))) << x;
    EXPECT_NEAR(fast_log(x), exact, std::max(0x1p-21, 0x1p-22 * std::fabs(exact))) << x;
  }
  for (float x = -10; x <= 10; x += 0.0371f) {
    const double exact = std::exp(double{x});
    EXPECT_NEAR(fast_exp(x), exact, 0x1p-20 * exact) << x;
  }
  constexpr auto kTurn = static_cast<float>(2 * std::numbers::pi);
  for (float x = -kTurn / 2; x <= kTurn / 2; x += 0.00371f) {
    float sine = 0, cosine = 0;
    fast_sincos(x, sine, cosine);
    EXPECT_NEAR(sine, std::sin(double{x}), 0x1p-21) << x;
    EXPECT_NEAR(cosine, std::cos(double{x}), 0x1p-21) << x;
  }
}

// FNV-1a, by words, of the answers for all floats of 2^exponent on, up to its double.
std::uint64_t hash_of_log2(std::uint32_t exponent) {
  std::uint64_t hash = 0xCBF29CE484222325;
  for (std::uint32_t mantissa = 0; mantissa < 1u << 23; ++mantissa) {
    const auto x = std::bit_cast<float>(exponent << 23 | mantissa);
    hash = (hash ^ std::bit_cast<std::uint32_t>(approximate_log2(x))) * 0x100000001B3;
  }
  return hash;
}

// Of lg2.approx.f32 on an NVIDIA H200 (CUDA 13.0, November 2026): 2^24 arguments.
TEST(TransformsTest, LogarithmsAreTheGpusBitForBit) {
  EXPECT_EQ(hash_of_log2(126), 0xF8884F097B12E53D);
  EXPECT_EQ(hash_of_log2(127), 0x5CA43D6B0D176848);
}

TEST(TransformsTest, FunctionsHaveAnswersAtTheEndsOfTheirRanges) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(approximate_log2(0.0f), -kInfinity);
  EXPECT_EQ(approximate_log2(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(approximate_log2(-1.0f)));
  EXPECT_EQ(approximate_log2(1.0f), 0.0f);
  EXPECT_EQ(approximate_log2(4.0f), 2.0f);
  EXPECT_NEAR(approximate_log2(0x1.8p-140f), std::log2(1.5f) - 140, 0x1p-16);
  EXPECT_EQ(fast_exp(0.0f), 1.0f);
  EXPECT_EQ(fast_exp(-0.0f), 1.0f);
  EXPECT_EQ(fast_exp(89.0f), kInfinity);
  EXPECT_EQ(fast_exp(kInfinity), kInfinity);
  EXPECT_EQ(fast_exp(-kInfinity), 0.0f);
  EXPECT_TRUE(std::isnan(fast_exp(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_NEAR(fast_exp(-100.0f), std::exp(-100.0f), 0x1p-149);
  float sine = 0, cosine = 0;
  fast_sincos(0.0f, sine, cosine);
  EXPECT_EQ(sine, 0.0f);
  EXPECT_EQ(cosine, 1.0f);
}

TEST(TransformsTest, ArraysHoldWhatSingleNumbersAre) {
  constexpr std::size_t kCount = 101;
  std::vector<std::uint32_t> bits(kCount), angles(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    bits[i] = static_cast<std::uint32_t>(i * 2654435761u);
    angles[i] = static_cast<std::uint32_t>(i * 40503u + 3) * 77777u;
  }
  bits[0] = 0;
  angles[1] = 0xFFFFFFFF;
  std::vector<float> uniform(kCount), first(kCount), second(kCount), out(kCount);
  std::vector<std::uint8_t> mask(kCount);
  uniform_floats(bits.data(), kCount, uniform.data());
  normal_floats(bits.data(), angles.data(), kCount, first.data(), second.data());
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(uniform[i], uniform_float(bits[i]));
    float sine = 0, cosine = 0;
    normal_pair(bits[i], angles[i], sine, cosine);
    EXPECT_EQ(first[i], sine);
    EXPECT_EQ(second[i], cosine);
  }
  scale_and_shift(first.data(), 3.0f, -1.0f, kCount, out.data());
  EXPECT_EQ(out[7], std::fma(first[7], 3.0f, -1.0f));
  into_range(uniform.data(), -2.0f, 5.0f, 3.0f, kCount, out.data());
  EXPECT_EQ(out[7], std::fma(uniform[7], 5.0f, -2.0f));
  drop(first.data(), uniform.data(), 0.5f, 2.0f, kCount, out.data(), mask.data());
  std::vector<std::uint8_t> less(kCount);
  less_than(uniform.data(), 0.5f, kCount, less.data());
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(mask[i], uniform[i] < 0.5f);
    EXPECT_EQ(less[i], mask[i]);
    EXPECT_EQ(out[i], mask[i] != 0 ? first[i] * 2 : 0.0f);
  }
}

TEST(TransformsTest, TheUpperBoundBecomesTheLower) {
  const std::array<float, 2> x{1.0f, 0.5f};
  std::array<float, 2> out{};
  into_range(x.data(), 0.0f, 1.0f, 1.0f, 2, out.data());
  EXPECT_EQ(out, (std::array<float, 2>{0.0f, 0.5f}));
}

TEST(TransformsTest, NormalDoublesOfBoxAndMuller) {
  double first = 0, second = 0;
  const std::uint64_t bits = 0x123456789ABCD, angle = 0x1F00000000001;
  normal_pair(bits, angle, first, second);
  const double radius = std::sqrt(-2 * std::log(static_cast<double>(bits) * 0x1p-53 + 0x1p-54));
  const double turns = (static_cast<double>(angle) + 0.5) * 0x1p-53;
  EXPECT_NEAR(first, radius * std::sin(turns * 2 * std::numbers::pi), 1e-14);
  EXPECT_NEAR(second, radius * std::cos(turns * 2 * std::numbers::pi), 1e-14);
}

}  // namespace
}  // namespace torch_remote::emulator::random
