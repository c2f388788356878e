// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Operators whose parameters are tensors, and that take as many numbers for an element as they
// need.
#include <ATen/AccumulateType.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/native/Distributions.h>
#include <ATen/native/TensorIterator.h>
#include <ATen/ops/empty_like.h>
#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "emulator/random/kernels/logical_order.h"
#include "emulator/random/kernels/operators.h"
#include "emulator/random/kernels/pointwise.h"
#include "emulator/random/philox.h"
#include "emulator/random/poisson.h"
#include "emulator/random/transforms.h"

namespace torch_remote::emulator::random {
namespace {

constexpr std::int64_t kGrain = 1024;

// Each element has a thread: out = make(numbers, parameter).
template <typename Scalar, typename Make>
void draw_each(const at::Tensor& result, const at::Tensor& parameters, const Draws& draws,
               const Make& make) {
  const auto [ordered, ordered_parameters] = in_pointwise_order(result, parameters);
  const LogicalOrder to(ordered), from(ordered_parameters);
  auto* out = result.mutable_data_ptr<Scalar>();
  const auto* in = parameters.const_data_ptr<Scalar>();
  at::parallel_for(0, result.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    const auto first = static_cast<std::uint64_t>(begin);
    const auto count = static_cast<std::size_t>(end - begin);
    std::vector<Scalar> made(count);
    from.walk(first, count, [&](std::size_t i, std::int64_t at) {
      ThreadNumbers numbers(draws.seed, first + i, draws.offset());
      made[i] = make(numbers, in[at]);
    });
    to.walk(first, count, [&](std::size_t i, std::int64_t at) { out[at] = made[i]; });
  });
}

// cuRAND's normal numbers of a thread come in pairs.
class NormalNumbers {
 public:
  explicit NormalNumbers(ThreadNumbers& numbers) : numbers_(numbers) {}

  float next() {
    has_second_ = !has_second_;
    if (!has_second_) return second_;
    const std::uint32_t bits = numbers_.next();
    float first = 0;
    normal_pair(bits, numbers_.next(), first, second_);
    return first;
  }

 private:
  ThreadNumbers& numbers_;
  float second_ = 0;
  bool has_second_ = false;
};

template <typename Scalar>
Scalar gamma_number(ThreadNumbers& numbers, Scalar shape) {
  using Value = at::acc_type<Scalar, /*is_cuda=*/true>;
  TORCH_CHECK(shape >= 0, "_standard_gamma expects a shape that is not negative, but got ", shape,
              ", for which the kernel of a GPU would never end");
  NormalNumbers normals(numbers);
  auto uniform = [&numbers] { return uniform_float(numbers.next()); };
  auto normal = [&normals] { return normals.next(); };
  BaseSampler<Value, decltype(uniform)> standard_uniform(uniform);
  BaseSampler<Value, decltype(normal)> standard_normal(normal);
  const auto drawn = sample_gamma<Scalar, Value, decltype(uniform), decltype(normal)>(
      shape, standard_uniform, standard_normal);
  return std::max(std::numeric_limits<Scalar>::min(), drawn);
}

constexpr std::uint64_t kReservedByPoisson = 20;
constexpr std::uint64_t kReservedByGamma = 10;
constexpr std::uint64_t kReservedByBinomial = 42;

// ---- binomial ----
// Blocks of 128 threads, each of which has several elements, 128 apart.
constexpr std::int64_t kBlock = 128;
constexpr std::int64_t kElementsPerThread = 8;

template <typename Scalar>
void draw_binomial(const at::Tensor& result, const at::Tensor& counts, const at::Tensor& chances,
                   const Draws& draws) {
  using Value = at::acc_type<Scalar, /*is_cuda=*/true>;
  auto* out = result.mutable_data_ptr<Scalar>();
  const auto* count = counts.const_data_ptr<Scalar>();
  const auto* chance = chances.const_data_ptr<Scalar>();
  const std::int64_t element_count = result.numel();
  const std::int64_t blocks = (element_count - 1) / (kBlock * kElementsPerThread) + 1;
  at::parallel_for(0, blocks * kBlock, kBlock, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t thread = begin; thread < end; ++thread) {
      ThreadNumbers numbers(draws.seed, static_cast<std::uint64_t>(thread), draws.offset());
      // 24 bits, [0, 1).
      auto uniform = [&numbers] {
        return static_cast<float>(numbers.next() & 0xFFFFFF) * 0x1p-24f;
      };
      BaseSampler<Value, decltype(uniform)> standard_uniform(uniform);
      const std::int64_t first = thread / kBlock * kBlock * kElementsPerThread + thread % kBlock;
      const std::int64_t last = std::min(first + kBlock * kElementsPerThread, element_count);
      for (std::int64_t e = first; e < last; e += kBlock) {
        TORCH_CHECK(count[e] == count[e],
                    "binomial expects counts that are numbers; for NaN the kernel of a GPU would "
                    "never end");
        out[e] = sample_binomial<Scalar, Value, decltype(uniform)>(count[e], chance[e],
                                                                   standard_uniform);
      }
    }
  });
}

}  // namespace

at::Tensor poisson(const at::Tensor& self, std::optional<at::Generator> generator) {
  at::Tensor result = at::empty_like(self, at::MemoryFormat::Contiguous);
  const Draws draws = philox_generator(generator).reserve(kReservedByPoisson);
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, self.scalar_type(), "poisson_cuda", [&] {
        draw_each<scalar_t>(result, self, draws, [](ThreadNumbers& numbers, scalar_t rate) {
          TORCH_CHECK(rate >= 0, "invalid Poisson rate, expected rate to be non-negative");
          return static_cast<scalar_t>(poisson_number(numbers, static_cast<double>(rate)));
        });
      });
  return result;
}

at::Tensor standard_gamma(const at::Tensor& self, std::optional<at::Generator> generator) {
  at::Tensor result = at::empty_like(self, at::MemoryFormat::Contiguous);
  const Draws draws = philox_generator(generator).reserve(kReservedByGamma);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, self.scalar_type(), "gamma_cuda", [&] {
    draw_each<scalar_t>(result, self, draws, &gamma_number<scalar_t>);
  });
  return result;
}

at::Tensor sample_dirichlet(const at::Tensor& self, std::optional<at::Generator> generator) {
  at::Tensor result = standard_gamma(self, std::move(generator));
  if (result.numel() == 0) return result;
  const at::Tensor totals = result.sum(/*dim=*/-1, /*keepdim=*/true).expand(result.sizes());
  result.div_(totals);
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, self.scalar_type(), "dirichlet_cuda", [&] {
        result.clamp_(static_cast<double>(std::numeric_limits<scalar_t>::min()),
                      1 - static_cast<double>(std::numeric_limits<scalar_t>::epsilon()));
      });
  return result;
}

at::Tensor binomial(const at::Tensor& count, const at::Tensor& probability,
                    std::optional<at::Generator> generator) {
  TORCH_CHECK_VALUE(
      at::isFloatingType(count.scalar_type()),
      "binomial only supports floating-point dtypes for count, got: ", count.scalar_type());
  TORCH_CHECK_VALUE(
      at::isFloatingType(probability.scalar_type()),
      "binomial only supports floating-point dtypes for prob, got: ", probability.scalar_type());
  at::Tensor result = at::empty_like(count, at::MemoryFormat::Contiguous);
  // Checks the dtypes, and resizes the result where the chances are more.
  const auto iterator =
      at::TensorIteratorConfig().add_output(result).add_input(count).add_input(probability).build();
  const Draws draws = philox_generator(generator).reserve(kReservedByBinomial);
  if (result.numel() == 0) return result;
  const at::Tensor counts = count.expand(result.sizes()).contiguous();
  const at::Tensor chances = probability.expand(result.sizes()).contiguous();
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, iterator.input_dtype(), "binomial_cuda",
                                  [&] { draw_binomial<scalar_t>(result, counts, chances, draws); });
  return result;
}

}  // namespace torch_remote::emulator::random
