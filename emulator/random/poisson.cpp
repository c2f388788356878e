// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/random/poisson.h"

#include <algorithm>
#include <cmath>

#include "emulator/random/transforms.h"

namespace torch_remote::emulator::random {
namespace {

constexpr float kRateOfProducts = 64;   // below: Knuth's product of uniform numbers
constexpr double kRateOfNormal = 4000;  // above: a rounded normal number

std::uint32_t by_products(ThreadNumbers& numbers, float rate) {
  std::uint32_t count = 0;
  float product = static_cast<float>(std::exp(double{rate}));
  do {
    ++count;
    product *= uniform_float(numbers.next());
  } while (product > 1.0f);
  return count - 1;
}

// The regularized incomplete gamma function and its inverse, by a logistic curve whose two
// parameters depend on the rate: 1 / (1 + exp(slope * (rate - x) - shift))^2.
class GammaCurve {
 public:
  explicit GammaCurve(float rate)
      : rate_(rate),
        slope_(std::fma(1.43248035075540910f, 1 / std::sqrt(rate - 0.12400979329415655f),
                        0.00025361074907033f)),
        shift_(std::fma(0.21096734870196546f, 1 / std::sqrt(rate - 1.97381164089999420f),
                        0.94201734077887530f)) {}

  float at(float x) const {
    const float one = 1.0f + fast_exp(std::fma(slope_, rate_ - x, -shift_));
    return 1.0f / (one * one);
  }
  float inverse(float y) const {
    const float logarithm = shift_ + fast_log(1 / std::sqrt(y) - 1.0f);
    return std::fma(-logarithm, 1.0f / slope_, rate_);
  }

 private:
  float rate_;
  float slope_;
  float shift_;
};

// Rejects numbers of that curve.
std::uint32_t by_rejection(ThreadNumbers& numbers, float rate) {
  const GammaCurve curve(rate);
  const float log_rate = fast_log(rate);
  for (;;) {
    const float x = std::floor(curve.inverse(uniform_float(numbers.next())));
    const float proposed = (curve.at(x + 1.0f) - curve.at(x)) * 1.3f;
    const float height = uniform_float(numbers.next()) * proposed;
    const auto log_factorial = static_cast<float>(std::lgamma(1.0 + double{x}));
    const float wanted = fast_exp(std::fma(x, log_rate, -rate) - log_factorial);
    if (height < wanted && proposed >= 1e-20f) return static_cast<std::uint32_t>(x);
  }
}

std::uint32_t by_normal(ThreadNumbers& numbers, double rate) {
  const Bits4 bits = numbers.next4();
  double first = 0, second = 0;
  normal_pair(std::uint64_t{bits[0]} ^ std::uint64_t{bits[1]} << 21,
              std::uint64_t{bits[2]} ^ std::uint64_t{bits[3]} << 21, first, second);
  // The GPU's conversion keeps what is too large at the largest number.
  return static_cast<std::uint32_t>(
      std::clamp(std::fma(std::sqrt(rate), first, rate) + 0.5, 0.0, 0xFFFFFFFFp0));
}

}  // namespace

std::uint32_t poisson_number(ThreadNumbers& numbers, double rate) {
  if (rate < kRateOfProducts) return by_products(numbers, static_cast<float>(rate));
  if (rate > kRateOfNormal) return by_normal(numbers, rate);
  return by_rejection(numbers, static_cast<float>(rate));
}

}  // namespace torch_remote::emulator::random
