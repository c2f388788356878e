// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The unit in which a GPU has its fast functions, bit for bit: a mantissa of 23 bits is cut into 64
// parts, and each part is a parabola of integers, constant + linear * x + square * x^2, where x are
// the lower 17 bits. Its squares are short: of the upper 15 bits of x, by adders that have no
// columns below the result's. Sums have 38 bits behind the point (the logarithm's lose two), and
// are cut off to a float's 24. Oberman and Siu describe such a unit ("A High-Performance
// Area-Efficient Multifunction Interpolator", 2005); the integers are those that a GPU's answers
// leave (measure_hardware_functions.py).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace torch_remote::emulator::random {

inline constexpr int kFractionBits = 38;  // of the sums
inline constexpr int kMantissaBits = 23;
inline constexpr int kPartBits = 17;

// In units of 2^-38; the constant holds what is added for the cutting off as well.
struct Part {
  std::int64_t constant;
  std::int32_t linear;
  std::int32_t square;
};
using Interpolator = std::array<Part, std::size_t{1} << (kMantissaBits - kPartBits)>;

extern const Interpolator kSine;         // of a quarter turn
extern const Interpolator kLogarithm;    // base 2, of [1, 2)
extern const Interpolator kExponential;  // base 2, of [0, 1)

constexpr std::int32_t lower_bits(std::int32_t mantissa) {
  return mantissa & ((1 << kPartBits) - 1);
}

// Of the lower bits x of a mantissa: the square of x / 4 (15 bits), over 2^15. What is missing to
// the exact one are the products of bits i and j where i + j + 1 < 15, or 2 i < 15 for i = j: all
// that the lower eight bits have with each other, and a part of what they have with the upper
// seven.
[[gnu::always_inline]] constexpr std::int32_t short_square(std::int32_t mantissa) {
  const std::int32_t x = lower_bits(mantissa), upper = x >> 10, lower = x >> 2 & 0xFF;
  // Seven terms rather than a loop, so that compilers make vectors of calls in a row.
  const auto term = [=](int bit) { return -(upper >> bit & 1) & lower >> (6 - bit); };
  return 2 * upper * upper + term(0) + term(1) + term(2) + term(3) + term(4) + term(5) + term(6);
}

// The sum at a mantissa whose square is given, in units of 2^-38; never below zero.
[[gnu::always_inline]] inline std::int64_t interpolate(const Interpolator& table,
                                                       std::int32_t mantissa, std::int32_t square) {
  const Part& part = table.data()[mantissa >> kPartBits];
  return part.constant + std::int64_t{part.linear} * lower_bits(mantissa) +
         std::int64_t{part.square} * square;
}
[[gnu::always_inline]] inline std::int64_t interpolate(const Interpolator& table,
                                                       std::int32_t mantissa) {
  return interpolate(table, mantissa, short_square(mantissa));
}

}  // namespace torch_remote::emulator::random
