// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// From random bits to numbers, rounded as CUDA's kernels round: cuRAND's conversions, the products
// and sums that nvcc fuses, CUDA's logarithm, whose polynomial is the same here, and the GPU's own
// approximations: what the hardware has tables for (sine, cosine, base-2 logarithm and exponential)
// has the same tables here (interpolator.h), and the same bits.
//
// The functions on arrays take at most as many elements as there are; in and out may be the same.
// All are pure and may be called from any thread.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace torch_remote::emulator::random {

// ---- single numbers ----

// (0, 1], and exact but for the conversion of 32 bits into a float's 24.
inline float uniform_float(std::uint32_t bits) {
  return static_cast<float>(bits) * 0x1p-32f + 0x1p-33f;
}

// (0, 1] of 53 of 64 bits.
inline double uniform_double(std::uint32_t low, std::uint32_t high) {
  const std::uint64_t bits = std::uint64_t{low} ^ (std::uint64_t{high} << 21);
  return static_cast<double>(bits) * 0x1p-53 + 0x1p-54;
}

inline std::uint64_t bits64(std::uint32_t first, std::uint32_t second) {
  return std::uint64_t{first} << 32 | second;
}

// CUDA's logf of a positive, normal number: within 0.86 units in the last place.
[[gnu::always_inline]] inline float log_float(float x) {
  const auto bits = std::bit_cast<std::int32_t>(x);
  const std::int32_t exponent = (bits - 0x3F2AAAAB) & static_cast<std::int32_t>(0xFF800000);
  const float m = std::bit_cast<float>(bits - exponent) - 1.0f;  // [-1/3, 1/3]
  const float scale = static_cast<float>(exponent) * 0x1p-23f;
  float sum = std::fma(std::bit_cast<float>(0xBE055027u), m, std::bit_cast<float>(0x3E1039F6u));
  sum = std::fma(sum, m, std::bit_cast<float>(0xBDF8CDCCu));
  sum = std::fma(sum, m, std::bit_cast<float>(0x3E0F2955u));
  sum = std::fma(sum, m, std::bit_cast<float>(0xBE2AD8B9u));
  sum = std::fma(sum, m, std::bit_cast<float>(0x3E4CED0Bu));
  sum = std::fma(sum, m, std::bit_cast<float>(0xBE7FFF22u));
  sum = std::fma(sum, m, std::bit_cast<float>(0x3EAAAA78u));
  sum = std::fma(sum, m, -0.5f);
  sum = m * sum;
  sum = std::fma(sum, m, m);
  return std::fma(scale, std::bit_cast<float>(0x3F317218u), sum);
}

// The hardware's base-2 logarithm (lg2.approx of PTX).
float approximate_log2(float x);

// CUDA's __logf, __expf, __tanf and __sincosf: a product and the hardware's function.
float fast_log(float x);
float fast_exp(float x);
float fast_tan(float x);
void fast_sincos(float angle, float& sine, float& cosine);

// A pair of standard normal numbers of two random ones, by Box and Muller.
void normal_pair(std::uint32_t bits, std::uint32_t angle_bits, float& first, float& second);
void normal_pair(std::uint64_t bits, std::uint64_t angle_bits, double& first, double& second);

// ---- arrays ----

void uniform_floats(const std::uint32_t* bits, std::size_t count, float* out);
// Of pairs (bits[k], angle_bits[k]).
void normal_floats(const std::uint32_t* bits, const std::uint32_t* angle_bits, std::size_t count,
                   float* first, float* second);
// factor * x + summand, fused.
void scale_and_shift(const float* x, float factor, float summand, std::size_t count, float* out);
// range * x + from, fused; what equals `to` becomes `from`.
void into_range(const float* x, float from, float range, float to, std::size_t count, float* out);
// 1 where x < p, else 0.
void less_than(const float* x, float p, std::size_t count, std::uint8_t* out);
// x * (drawn < p) * scale, in this order, and the mask.
void drop(const float* x, const float* drawn, float p, float scale, std::size_t count, float* out,
          std::uint8_t* mask);

}  // namespace torch_remote::emulator::random
