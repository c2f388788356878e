// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The operators that fill a tensor with independent numbers of one distribution. Their arguments
// are checked by PyTorch's own templates, which CUDA's operators use as well.
#include <ATen/Dispatch.h>
#include <ATen/Dispatch_v2.h>
#include <ATen/native/DistributionTemplates.h>
#include <c10/util/MathConstants.h>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>

#include "emulator/random/kernels/fill.h"
#include "emulator/random/kernels/operators.h"

namespace torch_remote::emulator::random {
namespace {

namespace templates = at::native::templates;
using at::BFloat16;
using at::Half;

template <typename Scalar>
constexpr bool kIsDouble = std::is_same_v<Scalar, double>;
// What kernels compute with: floats but for doubles.
template <typename Scalar>
using Wide = std::conditional_t<kIsDouble<Scalar>, double, float>;
template <typename Scalar>
using Uniform = std::conditional_t<kIsDouble<Scalar>, UniformDoubles, UniformFloats>;
template <typename Scalar>
using Normal = std::conditional_t<kIsDouble<Scalar>, NormalDoubles, NormalFloats>;

// ---- functions whose float versions are the GPU's fast ones ----

float gpu_log(float x) { return fast_log(x); }
double gpu_log(double x) { return std::log(x); }
float gpu_exp(float x) { return fast_exp(x); }
double gpu_exp(double x) { return std::exp(x); }
float gpu_tan(float x) { return fast_tan(x); }
double gpu_tan(double x) { return std::tan(x); }
float gpu_log1p(float x) { return fast_log(1.0f + x); }
double gpu_log1p(double x) { return std::log1p(x); }

// ---- kernels, in the form that the templates take ----

template <typename RNG>
struct UniformKernel {
  void operator()(at::TensorIteratorBase& iterator, double from_, double to_,
                  const std::optional<at::Generator>& generator) const {
    RNG& philox = philox_generator(generator);
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kHalf, at::kBFloat16, iterator.dtype(), "uniform_kernel_cuda", [&] {
          const auto from = static_cast<scalar_t>(from_), to = static_cast<scalar_t>(to_);
          const auto range = static_cast<Wide<scalar_t>>(static_cast<scalar_t>(to - from));
          if constexpr (std::is_same_v<scalar_t, float>) {
            fill<float>(iterator, philox, UniformFloats{},
                        [=](const float* values, std::size_t count, float* out) {
                          into_range(values, from, range, to, count, out);
                        });
          } else {
            const auto low = static_cast<Wide<scalar_t>>(from);
            fill<scalar_t>(iterator, philox, Uniform<scalar_t>{},
                           one_by_one<scalar_t>([=](Wide<scalar_t> x) {
                             const auto value = static_cast<scalar_t>(std::fma(x, range, low));
                             return value == to ? from : value;
                           }));
          }
        });
  }
};

template <typename RNG>
struct NormalKernel {
  void operator()(const at::TensorBase& self, double mean_, double std_,
                  const std::optional<at::Generator>& generator) const {
    RNG& philox = philox_generator(generator);
    auto iterator = at::TensorIterator::borrowing_nullary_op(self);
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kHalf, at::kBFloat16, iterator.dtype(), "normal_kernel_cuda", [&] {
          const auto mean = static_cast<Wide<scalar_t>>(mean_);
          const auto std = static_cast<Wide<scalar_t>>(std_);
          if constexpr (std::is_same_v<scalar_t, float>) {
            fill<float>(iterator, philox, NormalFloats{},
                        [=](const float* values, std::size_t count, float* out) {
                          scale_and_shift(values, std, mean, count, out);
                        });
          } else {
            fill<scalar_t>(iterator, philox, Normal<scalar_t>{},
                           one_by_one<scalar_t>([=](Wide<scalar_t> x) {
                             return static_cast<scalar_t>(std::fma(x, std, mean));
                           }));
          }
        });
  }
};

template <typename RNG>
struct LogNormalKernel {
  void operator()(at::TensorIteratorBase& iterator, double mean_, double std_,
                  const std::optional<at::Generator>& generator) const {
    RNG& philox = philox_generator(generator);
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kHalf, at::kBFloat16, iterator.dtype(), "log_normal_cuda", [&] {
          const auto mean = static_cast<Wide<scalar_t>>(mean_);
          const auto std = static_cast<Wide<scalar_t>>(std_);
          fill<scalar_t>(iterator, philox, Normal<scalar_t>{},
                         one_by_one<scalar_t>([=](Wide<scalar_t> x) {
                           return static_cast<scalar_t>(gpu_exp(std::fma(x, std, mean)));
                         }));
        });
  }
};

template <typename RNG>
struct GeometricKernel {
  void operator()(at::TensorIteratorBase& iterator, double p_,
                  const std::optional<at::Generator>& generator) const {
    RNG& philox = philox_generator(generator);
    AT_DISPATCH_ALL_TYPES_AND2(at::kHalf, at::kBFloat16, iterator.dtype(), "geometric_cuda", [&] {
      const auto log_of_failure = gpu_log1p(-static_cast<Wide<scalar_t>>(p_));
      fill<scalar_t>(iterator, philox, Uniform<scalar_t>{},
                     one_by_one<scalar_t>([=](Wide<scalar_t> x) {
                       return static_cast<scalar_t>(std::ceil(gpu_log(x) / log_of_failure));
                     }));
    });
  }
};

template <typename RNG>
struct ExponentialKernel {
  void operator()(at::TensorIteratorBase& iterator, double lambda_,
                  const std::optional<at::Generator>& generator) const {
    RNG& philox = philox_generator(generator);
    TORCH_CHECK(at::isFloatingType(iterator.dtype()),
                "Exponential distribution is a continuous probability distribution. dtype must be "
                "a floating point but you specified ",
                iterator.dtype());
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kHalf, at::kBFloat16, iterator.dtype(), "exponential_cuda", [&] {
          using Value = Wide<scalar_t>;
          const Value factor = static_cast<Value>(-1.0) / static_cast<Value>(lambda_);
          fill<scalar_t>(iterator, philox, Uniform<scalar_t>{}, one_by_one<scalar_t>([=](Value x) {
                           constexpr Value kHalfStep = std::numeric_limits<Value>::epsilon() / 2;
                           const Value log = x >= 1 - kHalfStep ? -kHalfStep : gpu_log(x);
                           return static_cast<scalar_t>(factor * log);
                         }));
        });
  }
};

template <typename RNG>
struct CauchyKernel {
  void operator()(at::TensorIteratorBase& iterator, double median_, double sigma_,
                  const std::optional<at::Generator>& generator) const {
    RNG& philox = philox_generator(generator);
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, iterator.dtype(), "cauchy_cuda", [&] {
      using Value = Wide<scalar_t>;
      const auto median = static_cast<Value>(median_), sigma = static_cast<Value>(sigma_);
      fill<scalar_t>(iterator, philox, Uniform<scalar_t>{}, one_by_one<scalar_t>([=](Value x) {
                       if constexpr (!kIsDouble<scalar_t>) {
                         constexpr Value kStep = std::numeric_limits<Value>::epsilon();
                         x = std::clamp<Value>(x, kStep, 1 - kStep);
                       }
                       const Value tangent =
                           gpu_tan(c10::pi<Value> * (x - static_cast<Value>(0.5)));
                       return static_cast<scalar_t>(std::fma(sigma, tangent, median));
                     }));
    });
  }
};

template <typename RNG>
struct BernoulliScalarKernel {
  void operator()(const at::TensorBase& self, double p_,
                  const std::optional<at::Generator>& generator) const {
    RNG& philox = philox_generator(generator);
    auto iterator = at::TensorIterator::borrowing_nullary_op(self);
    AT_DISPATCH_ALL_TYPES_AND3(
        at::kHalf, at::kBFloat16, at::kBool, iterator.dtype(), "bernoulli_scalar_cuda_", [&] {
          const auto p = static_cast<Wide<scalar_t>>(p_);
          fill<scalar_t>(
              iterator, philox, Uniform<scalar_t>{},
              one_by_one<scalar_t>([=](Wide<scalar_t> x) { return static_cast<scalar_t>(x < p); }));
        });
  }
};

// ---- integers ----

// From this range on, remainders of 32 bits would favour the small numbers.
constexpr std::uint64_t kRangeOfWideDraws = std::uint64_t{1} << 28;

template <typename RNG>
struct RandomFromToKernel {
  void operator()(at::TensorIteratorBase& iterator, std::uint64_t range, std::int64_t base,
                  const std::optional<at::Generator>& generator) const {
    RNG& philox = philox_generator(generator);
    AT_DISPATCH_V2(
        iterator.dtype(), "random_from_to_kernel_cuda", AT_WRAP([&] {
          const auto one = [range, base](std::uint64_t bits) {
            return static_cast<scalar_t>(
                static_cast<std::int64_t>(bits % range + static_cast<std::uint64_t>(base)));
          };
          if (range >= kRangeOfWideDraws) {
            fill<scalar_t>(iterator, philox, Bits64{}, one_by_one<scalar_t>(one));
          } else {
            // The same with a division of half the width.
            const auto narrow = [range32 = static_cast<std::uint32_t>(range),
                                 base](std::uint32_t bits) {
              return static_cast<scalar_t>(static_cast<std::int64_t>(bits % range32) + base);
            };
            fill<scalar_t>(iterator, philox, Bits32{}, one_by_one<scalar_t>(narrow));
          }
        }),
        AT_EXPAND(AT_ALL_TYPES), at::kBool, at::kHalf, at::kBFloat16,
        AT_EXPAND(AT_BAREBONES_UNSIGNED_TYPES));
  }

  // All 64 bits.
  void operator()(at::TensorIteratorBase& iterator,
                  const std::optional<at::Generator>& generator) const {
    RNG& philox = philox_generator(generator);
    AT_DISPATCH_ALL_TYPES_AND(
        at::kBFloat16, iterator.dtype(), "random_full_64_bits_range_kernel_cuda", [&] {
          if constexpr (std::is_same_v<scalar_t, std::int64_t> ||
                        std::is_same_v<scalar_t, double> || std::is_same_v<scalar_t, float> ||
                        std::is_same_v<scalar_t, BFloat16>) {
            fill<scalar_t>(iterator, philox, Bits64{}, one_by_one<scalar_t>([](std::uint64_t bits) {
                             return static_cast<scalar_t>(static_cast<std::int64_t>(bits));
                           }));
          } else {
            TORCH_CHECK(false,
                        "random_full_64_bits_range_kernel_cuda handles only int64, double, float "
                        "and bfloat16");
          }
        });
  }
};

// How many numbers random_() has: those that the type holds, and for floats up to which all
// integers are exact.
template <typename Scalar>
constexpr std::uint64_t number_count() {
  if constexpr (std::is_same_v<Scalar, bool>) return 2;
  if constexpr (!std::is_integral_v<Scalar>)
    return (std::uint64_t{1} << std::numeric_limits<Scalar>::digits) + 1;
  return static_cast<std::uint64_t>(std::numeric_limits<Scalar>::max()) + 1;
}

template <typename RNG>
struct RandomKernel {
  void operator()(at::TensorIteratorBase& iterator,
                  const std::optional<at::Generator>& generator) const {
    RNG& philox = philox_generator(generator);
    AT_DISPATCH_ALL_TYPES_AND3(
        at::kHalf, at::kBFloat16, at::kBool, iterator.dtype(), "random_kernel_cuda", [&] {
          const auto one = [](auto bits) {
            return static_cast<scalar_t>(bits % number_count<scalar_t>());
          };
          if constexpr (kIsDouble<scalar_t> || std::is_same_v<scalar_t, std::int64_t>) {
            fill<scalar_t>(iterator, philox, Bits64{}, one_by_one<scalar_t>(one));
          } else {
            fill<scalar_t>(iterator, philox, Bits32{}, one_by_one<scalar_t>(one));
          }
        });
  }
};

}  // namespace

// ---- operators ----

using OptionalGenerator = std::optional<at::Generator>;

at::Tensor& uniform_(at::Tensor& self, double from, double to, OptionalGenerator generator) {
  return templates::uniform_impl_<UniformKernel, PhiloxGenerator>(self, from, to, generator);
}

at::Tensor& normal_(at::Tensor& self, double mean, double std, OptionalGenerator generator) {
  return templates::normal_impl_<NormalKernel, PhiloxGenerator>(self, mean, std, generator);
}

at::Tensor normal_tensor_float(const at::Tensor& mean, double std, OptionalGenerator generator) {
  return templates::normal_impl<NormalKernel, PhiloxGenerator>(mean, std, generator);
}

at::Tensor& normal_tensor_float_out(const at::Tensor& mean, double std, OptionalGenerator generator,
                                    at::Tensor& out) {
  return templates::normal_out_impl<NormalKernel, PhiloxGenerator>(out, mean, std, generator);
}

at::Tensor normal_float_tensor(double mean, const at::Tensor& std, OptionalGenerator generator) {
  return templates::normal_impl<NormalKernel, PhiloxGenerator>(mean, std, generator);
}

at::Tensor& normal_float_tensor_out(double mean, const at::Tensor& std, OptionalGenerator generator,
                                    at::Tensor& out) {
  return templates::normal_out_impl<NormalKernel, PhiloxGenerator>(out, mean, std, generator);
}

at::Tensor normal_tensor_tensor(const at::Tensor& mean, const at::Tensor& std,
                                OptionalGenerator generator) {
  return templates::normal_impl<NormalKernel, PhiloxGenerator>(mean, std, generator);
}

at::Tensor& normal_tensor_tensor_out(const at::Tensor& mean, const at::Tensor& std,
                                     OptionalGenerator generator, at::Tensor& out) {
  return templates::normal_out_impl<NormalKernel, PhiloxGenerator>(out, mean, std, generator);
}

at::Tensor& log_normal_(at::Tensor& self, double mean, double std, OptionalGenerator generator) {
  return templates::log_normal_impl_<LogNormalKernel, PhiloxGenerator>(self, mean, std, generator);
}

at::Tensor& geometric_(at::Tensor& self, double p, OptionalGenerator generator) {
  return templates::geometric_impl_<GeometricKernel, PhiloxGenerator>(self, p, generator);
}

at::Tensor& exponential_(at::Tensor& self, double lambda, OptionalGenerator generator) {
  return templates::exponential_impl_<ExponentialKernel, PhiloxGenerator>(self, lambda, generator);
}

at::Tensor& cauchy_(at::Tensor& self, double median, double sigma, OptionalGenerator generator) {
  return templates::cauchy_impl_<CauchyKernel, PhiloxGenerator>(self, median, sigma, generator);
}

at::Tensor& bernoulli_float_(at::Tensor& self, double p, OptionalGenerator generator) {
  return templates::bernoulli_impl_<BernoulliScalarKernel, PhiloxGenerator>(self, p, generator);
}

at::Tensor& random_(at::Tensor& self, OptionalGenerator generator) {
  return templates::random_impl<RandomKernel, PhiloxGenerator>(self, generator);
}

at::Tensor& random_from_(at::Tensor& self, std::int64_t from, std::optional<std::int64_t> to,
                         OptionalGenerator generator) {
  return templates::random_from_to_impl<RandomFromToKernel, PhiloxGenerator>(self, from, to,
                                                                             generator);
}

at::Tensor& random_to_(at::Tensor& self, std::int64_t to, OptionalGenerator generator) {
  return random_from_(self, 0, to, std::move(generator));
}

}  // namespace torch_remote::emulator::random
