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

// Of the sine, for loops of floats: the constant term in two parts, so that only the sum is
// rounded.
struct FloatParabolas {
  std::array<float, kParts> high, low, linear, square;

  explicit FloatParabolas(const Parabolas& parabolas) noexcept {
    for (std::size_t part = 0; part < kParts; ++part) {
      high[part] = static_cast<float>(parabolas[part][0]);
      low[part] = static_cast<float>(parabolas[part][0] - double{high[part]});
      linear[part] = static_cast<float>(parabolas[part][1]);
      square[part] = static_cast<float>(parabolas[part][2]);
    }
  }
};

const FloatParabolas kSineFloats(kSine);

constexpr int kQuarterBits = 23;  // a quarter of a turn has so many steps
constexpr int kPartBits = kQuarterBits - 6;
constexpr std::int32_t kQuarterMask = (1 << kQuarterBits) - 1, kPartMask = (1 << kPartBits) - 1;

[[gnu::always_inline]] inline float sine_of_steps(std::int32_t steps) {
  const std::int32_t part = steps >> kPartBits;
  const float u = static_cast<float>(steps & kPartMask) * 0x1p-16f - 1.0f;
  const float curve = std::fma(u, kSineFloats.square.data()[part], kSineFloats.linear.data()[part]);
  return kSineFloats.high.data()[part] + std::fma(u, curve, kSineFloats.low.data()[part]);
}

// The hardware's sine and cosine. It takes turns: the product is cut off, not rounded, and so is
// what is behind 25 bits.
[[gnu::always_inline]] inline std::int32_t steps_of(float angle) {
  const float rounded = angle * kInverseTurn;
  const bool is_above = std::fma(angle, kInverseTurn, -rounded) < 0;
  const float turns =
      std::bit_cast<float>(std::bit_cast<std::int32_t>(rounded) - (is_above ? 1 : 0));
  return static_cast<std::int32_t>(turns * 0x1p25f);
}

// A quarter in which the function falls is read backwards.
[[gnu::always_inline]] inline void sincos_of_steps(std::int32_t steps, float& sine, float& cosine) {
  const std::int32_t quarter = steps >> kQuarterBits, forwards = steps & kQuarterMask;
  const std::int32_t odd = -(quarter & 1) & kQuarterMask;
  const float one = sine_of_steps(forwards ^ odd);
  const float other = sine_of_steps(forwards ^ odd ^ kQuarterMask);
  const auto with_sign = [](float value, std::int32_t is_negative) {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) ^
                                static_cast<std::uint32_t>(is_negative) << 31);
  };
  sine = with_sign(one, quarter >> 1 & 1);
  cosine = with_sign(other, (quarter + 1) >> 1 & 1);
}

[[gnu::always_inline]] inline float radius_of(std::uint32_t bits) {
  return std::sqrt(-2.0f * log_float(uniform_float(bits)));
}

[[gnu::always_inline]] inline std::int32_t steps_of_bits(std::uint32_t angle_bits) {
  return steps_of(std::fma(static_cast<float>(angle_bits), kAngleStep, kAngleStep / 2));
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
  constexpr std::size_t kBlock = 64;
  float radius[kBlock];
  std::int32_t steps[kBlock];
  // Vectors first, then the look-ups.
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t length = count - begin < kBlock ? count - begin : kBlock;
    for (std::size_t i = 0; i < length; ++i) radius[i] = radius_of(bits[begin + i]);
    for (std::size_t i = 0; i < length; ++i) steps[i] = steps_of_bits(angle_bits[begin + i]);
    for (std::size_t i = 0; i < length; ++i) {
      float sine = 0, cosine = 0;
      sincos_of_steps(steps[i], sine, cosine);
      first[begin + i] = sine * radius[i];
      second[begin + i] = cosine * radius[i];
    }
  }
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
  sincos_of_steps(steps_of(std::fabs(angle)), sine, cosine);
  if (angle < 0) sine = -sine;
}

float fast_tan(float x) {
  float sine = 0, cosine = 0;
  fast_sincos(x, sine, cosine);
  return sine / cosine;
}

void normal_pair(std::uint32_t bits, std::uint32_t angle_bits, float& first, float& second) {
  float sine = 0, cosine = 0;
  sincos_of_steps(steps_of_bits(angle_bits), sine, cosine);
  const float radius = radius_of(bits);
  first = sine * radius;
  second = cosine * radius;
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
