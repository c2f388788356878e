// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/random/transforms.h"

#include <numbers>

#include "emulator/random/for_this_processor.h"

namespace torch_remote::emulator::random {
namespace {

constexpr float kLog2 = 0x1.62e43p-1f;      // ln 2, as the kernels multiply by it
constexpr float kLog2OfE = 0x1.715476p+0f;  // log2 e
constexpr float kInverseTurn = 0x1.45f306p-3f;  // 1 / (2 pi)
constexpr float kTurn = 0x1.921fb6p+2f;         // 2 pi
constexpr float kAngleStep = 0x1p-32f * kTurn;

// The hardware takes an angle in turns and has its sine and cosine: of the same rounded turns, by
// polynomials of an eighth of a turn.
[[gnu::always_inline]] inline void sincos_of_turns(float turns, float& sine, float& cosine) {
  constexpr float kRound = 0x1.8p+23f;  // adding it leaves whole numbers
  const float shifted = turns * 4.0f + kRound;
  const auto quarter = std::bit_cast<std::uint32_t>(shifted) & 3;
  const float rest = (turns - (shifted - kRound) * 0.25f) * kTurn;  // exact before the product
  const float square = rest * rest;
  float s = std::fma(square, 2.6083159809786593541503e-06f, -1.981069071916863322258e-04f);
  s = std::fma(s, square, 8.33307858556509017944336e-03f);
  s = std::fma(s, square, -1.666665971279144287109e-01f);
  s = std::fma(s * square, rest, rest);
  float c = std::fma(square, -2.6051615e-07f, 2.4760495e-05f);
  c = std::fma(c, square, -1.3888378e-03f);
  c = std::fma(c, square, 4.1666638e-02f);
  c = std::fma(c, square, -0.5f);
  c = std::fma(c, square, 1.0f);
  const float one = quarter & 1 ? c : s, other = quarter & 1 ? s : c;
  sine = quarter & 2 ? -one : one;
  cosine = (quarter + 1) & 2 ? -other : other;
}

[[gnu::always_inline]] inline void pair_of(std::uint32_t bits, std::uint32_t angle_bits,
                                           float& first, float& second) {
  const float radius = std::sqrt(-2.0f * log_float(uniform_float(bits)));
  const float angle = std::fma(static_cast<float>(angle_bits), kAngleStep, kAngleStep / 2);
  float sine = 0, cosine = 0;
  sincos_of_turns(angle * kInverseTurn, sine, cosine);
  first = sine * radius;
  second = cosine * radius;
}

// ---- loops ----

[[gnu::always_inline]] inline void uniform_floats_loop(const std::uint32_t* bits, std::size_t count,
                                                       float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = uniform_float(bits[i]);
}

[[gnu::always_inline]] inline void normal_floats_loop(const std::uint32_t* bits,
                                                      const std::uint32_t* angle_bits,
                                                      std::size_t count, float* first,
                                                      float* second) {
  for (std::size_t i = 0; i < count; ++i) pair_of(bits[i], angle_bits[i], first[i], second[i]);
}

[[gnu::always_inline]] inline void scale_and_shift_loop(const float* x, float factor, float summand,
                                                        std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = std::fma(x[i], factor, summand);
}

[[gnu::always_inline]] inline void into_range_loop(const float* x, float from, float range,
                                                   float to, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) {
    const float value = std::fma(x[i], range, from);
    out[i] = value == to ? from : value;
  }
}

[[gnu::always_inline]] inline void less_than_loop(const float* x, float p, std::size_t count,
                                                  std::uint8_t* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = x[i] < p ? 1 : 0;
}

[[gnu::always_inline]] inline void drop_loop(const float* x, const float* drawn, float p,
                                             float scale, std::size_t count, float* out,
                                             std::uint8_t* mask) {
  for (std::size_t i = 0; i < count; ++i) out[i] = x[i] * (drawn[i] < p ? 1.0f : 0.0f) * scale;
  for (std::size_t i = 0; i < count; ++i) mask[i] = drawn[i] < p ? 1 : 0;
}

}  // namespace

TORCH_REMOTE_FOR_THIS_PROCESSOR(uniform_floats,
                                (const std::uint32_t* bits, std::size_t count, float* out),
                                (bits, count, out))
TORCH_REMOTE_FOR_THIS_PROCESSOR(normal_floats,
                                (const std::uint32_t* bits, const std::uint32_t* angle_bits,
                                 std::size_t count, float* first, float* second),
                                (bits, angle_bits, count, first, second))
TORCH_REMOTE_FOR_THIS_PROCESSOR(scale_and_shift,
                                (const float* x, float factor, float summand, std::size_t count,
                                 float* out),
                                (x, factor, summand, count, out))
TORCH_REMOTE_FOR_THIS_PROCESSOR(into_range,
                                (const float* x, float from, float range, float to,
                                 std::size_t count, float* out),
                                (x, from, range, to, count, out))
TORCH_REMOTE_FOR_THIS_PROCESSOR(less_than,
                                (const float* x, float p, std::size_t count, std::uint8_t* out),
                                (x, p, count, out))
TORCH_REMOTE_FOR_THIS_PROCESSOR(drop,
                                (const float* x, const float* drawn, float p, float scale,
                                 std::size_t count, float* out, std::uint8_t* mask),
                                (x, drawn, p, scale, count, out, mask))

float fast_log(float x) { return static_cast<float>(std::log2(double{x})) * kLog2; }

float fast_exp(float x) { return static_cast<float>(std::exp2(double{x * kLog2OfE})); }

void fast_sincos(float angle, float& sine, float& cosine) {
  const double turns = angle * kInverseTurn;
  sine = static_cast<float>(std::sin(turns * 2 * std::numbers::pi));
  cosine = static_cast<float>(std::cos(turns * 2 * std::numbers::pi));
}

float fast_tan(float x) {
  float sine = 0, cosine = 0;
  fast_sincos(x, sine, cosine);
  return sine / cosine;
}

void normal_pair(std::uint32_t bits, std::uint32_t angle_bits, float& first, float& second) {
  pair_of(bits, angle_bits, first, second);
}

void normal_pair(std::uint64_t bits, std::uint64_t angle_bits, double& first, double& second) {
  const double u = static_cast<double>(bits) * 0x1p-53 + 0x1p-54;
  const double half_turns = static_cast<double>(angle_bits) * 0x1p-52 + 0x1p-53;
  const double radius = std::sqrt(-2.0 * std::log(u));
  // Exact in quarters of a turn, so that the rest is small and keeps its digits.
  const double quarters = std::nearbyint(half_turns * 2);
  const double rest = (half_turns - quarters * 0.5) * std::numbers::pi;
  const double s = std::sin(rest), c = std::cos(rest);
  const auto quarter = static_cast<unsigned>(quarters) & 3;
  const double one = quarter & 1 ? c : s, other = quarter & 1 ? s : c;
  first = (quarter & 2 ? -one : one) * radius;
  second = ((quarter + 1) & 2 ? -other : other) * radius;
}

}  // namespace torch_remote::emulator::random
