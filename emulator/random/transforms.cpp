// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/random/transforms.h"

#include <array>
#include <numbers>

#include "emulator/random/for_this_processor.h"
#include "emulator/random/hardware_tables.h"

namespace torch_remote::emulator::random {
namespace {

// Of a double: those that are left of one cut off to a float.
constexpr std::uint64_t kFloatBits = ~((std::uint64_t{1} << 29) - 1);

constexpr float kLog2 = 0x1.62e43p-1f;          // ln 2, as the kernels multiply by it
constexpr float kLog2OfE = 0x1.715476p+0f;      // log2 e
constexpr float kInverseTurn = 0x1.45f306p-3f;  // 1 / (2 pi)
constexpr float kTurn = 0x1.921fb6p+2f;         // 2 pi
constexpr float kAngleStep = 0x1p-32f * kTurn;

// position is in [0, 1).
[[gnu::always_inline]] inline double on_parabola(const Parabolas& parabolas, double position) {
  const double scaled = position * kParts;
  const auto part = static_cast<std::int32_t>(scaled);
  const std::array<double, 3>& c = parabolas[static_cast<std::size_t>(part)];
  const double u = (scaled - part) * 2 - 1;
  return c[0] + u * (c[1] + u * c[2]);
}

// The hardware's sine and cosine. It takes turns: the product is cut off, not rounded, and so is
// what is behind 25 bits. A quarter in which the function falls is read backwards.
[[gnu::always_inline]] inline void hardware_sincos(float angle, float& sine, float& cosine) {
  constexpr std::int32_t kQuarter = 1 << 23;
  const double exact = double{angle} * double{kInverseTurn};
  const double turns = std::bit_cast<double>(std::bit_cast<std::uint64_t>(exact) & kFloatBits);
  const auto steps = static_cast<std::int32_t>(turns * (4.0 * kQuarter));
  const std::int32_t quarter = steps >> 23 & 3, forwards = steps & (kQuarter - 1);
  const double position = forwards * (1.0 / kQuarter);
  const double backwards = (kQuarter - 1 - forwards) * (1.0 / kQuarter);
  const auto rising = static_cast<float>(on_parabola(kSine, position));
  const auto falling = static_cast<float>(on_parabola(kSine, backwards));
  const float one = quarter & 1 ? falling : rising, other = quarter & 1 ? rising : falling;
  sine = quarter & 2 ? -one : one;
  cosine = (quarter + 1) & 2 ? -other : other;
}

[[gnu::always_inline]] inline void pair_of(std::uint32_t bits, std::uint32_t angle_bits,
                                           float& first, float& second) {
  const float radius = std::sqrt(-2.0f * log_float(uniform_float(bits)));
  const float angle = std::fma(static_cast<float>(angle_bits), kAngleStep, kAngleStep / 2);
  float sine = 0, cosine = 0;
  hardware_sincos(angle, sine, cosine);
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

// Cut off, not rounded.
float fast_log(float x) {
  int exponent = 0;
  const double mantissa = std::frexp(double{x}, &exponent);  // [1/2, 1)
  const double log = exponent + on_parabola(kLogarithm, mantissa * 2 - 1);
  return static_cast<float>(std::bit_cast<double>(std::bit_cast<std::uint64_t>(log) & kFloatBits)) *
         kLog2;
}

float fast_exp(float x) {
  const double exponent = double{x * kLog2OfE}, whole = std::floor(exponent);
  return static_cast<float>(
      std::ldexp(on_parabola(kExponential, exponent - whole), static_cast<int>(whole)));
}

// The hardware's functions are odd and even.
void fast_sincos(float angle, float& sine, float& cosine) {
  hardware_sincos(std::fabs(angle), sine, cosine);
  if (angle < 0) sine = -sine;
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
