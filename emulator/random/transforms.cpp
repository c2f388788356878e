// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/random/transforms.h"

#include <limits>
#include <numbers>

#include "emulator/random/for_this_processor.h"
#include "emulator/random/interpolator.h"

namespace torch_remote::emulator::random {
namespace {

// Of a double: those that are left of one cut off to a float.
constexpr std::uint64_t kFloatBits = ~((std::uint64_t{1} << 29) - 1);

constexpr std::int64_t kLostBits = 3;  // of the logarithm's sums

constexpr float kLog2 = 0x1.62e43p-1f;          // ln 2, as the kernels multiply by it
constexpr float kLog2OfE = 0x1.715476p+0f;      // log2 e
constexpr float kInverseTurn = 0x1.45f306p-3f;  // 1 / (2 pi)
constexpr float kTurn = 0x1.921fb6p+2f;         // 2 pi
constexpr float kAngleStep = 0x1p-32f * kTurn;

// Of a sum of the interpolator's, which a double holds exactly.
[[gnu::always_inline]] inline float cut_off(std::int64_t sum) {
  const auto bits = std::bit_cast<std::uint64_t>(static_cast<double>(sum) * 0x1p-38);
  return static_cast<float>(std::bit_cast<double>(bits & kFloatBits));
}

constexpr std::int32_t kMantissa = (1 << kMantissaBits) - 1;
constexpr int kQuarterBits = kMantissaBits;  // a quarter of a turn has so many steps
constexpr std::int32_t kQuarterMask = kMantissa;

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
[[gnu::always_inline]] inline std::int32_t sine_mantissa(std::int32_t steps) {
  return (steps ^ -(steps >> kQuarterBits & 1)) & kQuarterMask;
}
[[gnu::always_inline]] inline std::int32_t cosine_mantissa(std::int32_t steps) {
  return sine_mantissa(steps) ^ kQuarterMask;
}

[[gnu::always_inline]] inline float with_sign(float value, std::int32_t is_negative) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) ^
                              static_cast<std::uint32_t>(is_negative) << 31);
}
[[gnu::always_inline]] inline float sine_with_sign(float value, std::int32_t steps) {
  return with_sign(value, steps >> (kQuarterBits + 1) & 1);
}
[[gnu::always_inline]] inline float cosine_with_sign(float value, std::int32_t steps) {
  return with_sign(value, ((steps >> kQuarterBits) + 1) >> 1 & 1);
}

void sincos_of_steps(std::int32_t steps, float& sine, float& cosine) {
  sine = sine_with_sign(cut_off(interpolate(kSine, sine_mantissa(steps))), steps);
  cosine = cosine_with_sign(cut_off(interpolate(kSine, cosine_mantissa(steps))), steps);
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

// What are vectors first, then the look-ups.
constexpr std::size_t kBlock = 64;
[[gnu::always_inline]] inline void normal_floats_block(const std::uint32_t* bits,
                                                       const std::uint32_t* angle_bits,
                                                       std::size_t count, float* first,
                                                       float* second) {
  float radius[kBlock];
  std::int32_t steps[kBlock];
  std::int32_t mantissas[2 * kBlock], squares[2 * kBlock];  // sines, then cosines
  for (std::size_t i = 0; i < count; ++i) radius[i] = radius_of(bits[i]);
  for (std::size_t i = 0; i < count; ++i) steps[i] = steps_of_bits(angle_bits[i]);
  for (std::size_t i = 0; i < count; ++i) mantissas[i] = sine_mantissa(steps[i]);
  for (std::size_t i = 0; i < count; ++i) mantissas[count + i] = cosine_mantissa(steps[i]);
  for (std::size_t i = 0; i < 2 * count; ++i) squares[i] = short_square(mantissas[i]);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t k = count + i;
    const float sine = cut_off(interpolate(kSine, mantissas[i], squares[i]));
    const float cosine = cut_off(interpolate(kSine, mantissas[k], squares[k]));
    first[i] = sine_with_sign(sine, steps[i]) * radius[i];
    second[i] = cosine_with_sign(cosine, steps[i]) * radius[i];
  }
}

// Whole blocks have a constant count, without which compilers make no vectors.
[[gnu::always_inline]] inline void normal_floats_loop(const std::uint32_t* bits,
                                                      const std::uint32_t* angle_bits,
                                                      std::size_t count, float* first,
                                                      float* second) {
  std::size_t done = 0;
  for (; done + kBlock <= count; done += kBlock)
    normal_floats_block(bits + done, angle_bits + done, kBlock, first + done, second + done);
  normal_floats_block(bits + done, angle_bits + done, count - done, first + done, second + done);
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

// The exponent stands in front of the sum; where that is negative, it is complemented, not negated.
// 1 has an answer of its own.
float approximate_log2(float x) {
  if (!(x > 0 && x <= std::numeric_limits<float>::max()) || x == 1) return std::log2(x);
  const bool is_subnormal = x < std::numeric_limits<float>::min();
  const auto bits = std::bit_cast<std::int32_t>(is_subnormal ? x * 0x1p24f : x);
  const std::int64_t exponent = (bits >> kMantissaBits) - 127;
  const std::int64_t sum =
      ((exponent << kFractionBits) + interpolate(kLogarithm, bits & kMantissa)) & ~kLostBits;
  const float log2 = sum < 0 ? -cut_off(~sum & ~kLostBits) : cut_off(sum);
  return is_subnormal ? log2 - 24 : log2;
}

float fast_log(float x) { return approximate_log2(x) * kLog2; }

// Its argument has 23 bits behind the point; a negative one is complemented, not negated. What
// ends below the normal numbers is the square of a half's.
float fast_exp(float x) {
  const float exponent = x * kLog2OfE;
  if (std::isnan(x) || exponent >= 128) return x * std::numeric_limits<float>::infinity();
  if (exponent < -252) return 0;
  const bool is_small = exponent < -126;
  const float magnitude = std::fabs(is_small ? exponent / 2 : exponent);
  const auto steps = static_cast<std::int32_t>(magnitude * 0x1p23f);
  const std::int32_t fixed = exponent < 0 ? ~steps : steps;
  const float power =
      std::ldexp(cut_off(interpolate(kExponential, fixed & kMantissa)), fixed >> kMantissaBits);
  return is_small ? power * power : power;
}

// The hardware's functions are odd and even.
void fast_sincos(float angle, float& sine, float& cosine) {
  sincos_of_steps(steps_of(std::fabs(angle)), sine, cosine);
  if (angle < 0) sine = -sine;
}

// A quotient that the GPU approximates by a reciprocal.
float fast_tan(float x) {
  float sine = 0, cosine = 0;
  fast_sincos(x, sine, cosine);
  return sine * (1 / cosine);
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
