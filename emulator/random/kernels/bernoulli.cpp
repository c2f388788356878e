// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Bernoulli numbers whose chances are a tensor. Unlike all that fill, each thread has four elements
// in a row, and a chance is met by a number that equals it.
#include <ATen/Dispatch.h>
#include <ATen/ExpandUtils.h>
#include <ATen/Parallel.h>
#include <ATen/native/DistributionTemplates.h>
#include <algorithm>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "emulator/random/kernels/logical_order.h"
#include "emulator/random/kernels/operators.h"
#include "emulator/random/kernels/pointwise.h"
#include "emulator/random/philox.h"
#include "emulator/random/transforms.h"

namespace torch_remote::emulator::random {
namespace {

// What the kernel reserves, whatever it takes.
constexpr std::uint64_t kReserved = 10;

template <typename Scalar, typename Chance>
void draw(const at::Tensor& out, const at::Tensor& chances, const Draws& draws) {
  auto* results = out.mutable_data_ptr<Scalar>();
  const auto* p = chances.const_data_ptr<Chance>();
  const LogicalOrder results_order(out), chances_order(chances);
  const auto element_count = static_cast<std::uint64_t>(out.numel());
  const auto do_runs = [&](std::int64_t begin, std::int64_t end) {
    RunBits bits;
    std::array<float, 4 * kRunMax> drawn;
    std::array<Chance, 4 * kRunMax> wanted;
    for (auto run = static_cast<std::uint64_t>(begin); run < static_cast<std::uint64_t>(end);
         ++run) {
      const std::uint64_t first = run * 4 * kRunMax;
      const std::size_t count = std::min<std::uint64_t>(4 * kRunMax, element_count - first);
      philox_threads(draws.seed, draws.first, run * kRunMax, (count + 3) / 4, bits);
      for (std::size_t i = 0; i < count; ++i) drawn[i] = uniform_float(bits[i % 4][i / 4]);
      chances_order.walk(first, count, [&](std::size_t i, std::int64_t at) { wanted[i] = p[at]; });
      for (std::size_t i = 0; i < count; ++i) {
        TORCH_CHECK(0 <= wanted[i] && wanted[i] <= 1,
                    "bernoulli expects all chances to be in [0, 1], but got ", wanted[i]);
      }
      results_order.walk(first, count, [&](std::size_t i, std::int64_t at) {
        results[at] = static_cast<Scalar>(drawn[i] <= wanted[i]);
      });
    }
  };
  at::parallel_for(0, (out.numel() - 1) / static_cast<std::int64_t>(4 * kRunMax) + 1, 8, do_runs);
}

template <typename RNG>
struct BernoulliTensorKernel {
  void operator()(const at::Tensor& self, const at::Tensor& p_,
                  const std::optional<at::Generator>& generator) const {
    const Draws draws = philox_generator(generator).reserve(kReserved);
    TORCH_CHECK(at::isFloatingType(p_.scalar_type()),
                "expected probabilities tensor to have floating type, got ", p_.scalar_type());
    const bool is_double = self.scalar_type() == at::kDouble;
    const at::Tensor chances = p_.to(is_double ? at::kDouble : at::kFloat).expand(self.sizes());
    const auto [out, p] = in_pointwise_order(self, chances);
    AT_DISPATCH_ALL_TYPES_AND3(
        at::kHalf, at::kBFloat16, at::kBool, self.scalar_type(), "bernoulli_tensor_cuda_self_",
        [&, &out = out, &p = p] {
          using Chance = std::conditional_t<std::is_same_v<scalar_t, double>, double, float>;
          draw<scalar_t, Chance>(out, p, draws);
        });
  }
};

}  // namespace

at::Tensor& bernoulli_tensor_(at::Tensor& self, const at::Tensor& p,
                              std::optional<at::Generator> generator) {
  return at::native::templates::bernoulli_impl_<BernoulliTensorKernel, PhiloxGenerator>(self, p,
                                                                                        generator);
}

at::Tensor& bernoulli_out(const at::Tensor& self, std::optional<at::Generator> generator,
                          at::Tensor& out) {
  return at::native::templates::bernoulli_out_impl<BernoulliTensorKernel, PhiloxGenerator>(
      out, self, generator);
}

}  // namespace torch_remote::emulator::random
