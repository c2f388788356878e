// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Leaky ReLU with random slopes, in row-major order.
#include <ATen/Dispatch.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/leaky_relu.h>
#include <cmath>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "emulator/random/kernels/fill.h"
#include "emulator/random/kernels/operators.h"

namespace torch_remote::emulator::random {
namespace {

template <typename Scalar>
void train(const at::Tensor& input, const at::Tensor& noise, const at::Tensor& output, double lower,
           double upper, PhiloxGenerator& generator) {
  using Source = std::conditional_t<std::is_same_v<Scalar, double>, UniformDoubles, UniformFloats>;
  const auto element_count = static_cast<std::uint64_t>(input.numel());
  const Cover covered = cover(generator.card(), element_count, Source::kPerDraw);
  const Draws draws = generator.reserve(covered.offset_increment());
  const auto* x = input.const_data_ptr<Scalar>();
  auto* slopes = noise.mutable_data_ptr<Scalar>();
  auto* y = output.mutable_data_ptr<Scalar>();
  const double range = upper - lower;
  for_each_run(covered, draws, element_count,
               [&](std::uint64_t first, const RunBits& bits, std::size_t lanes, std::size_t count) {
                 RunValues<typename Source::Value> values;
                 Source::make(bits, lanes, count, values);
                 for (std::size_t lane = 0; lane < lanes; ++lane, first += covered.threads) {
                   for (std::size_t i = 0; i < count && first + i < element_count; ++i) {
                     const auto drawn = static_cast<Scalar>(values[lane][i]);
                     const auto slope =
                         static_cast<Scalar>(std::fma(static_cast<double>(drawn), range, lower));
                     const std::uint64_t e = first + i;
                     const bool is_bent = x[e] <= 0;
                     slopes[e] = is_bent ? slope : static_cast<Scalar>(1);
                     y[e] = is_bent ? static_cast<Scalar>(x[e] * slope) : x[e];
                   }
                 }
               });
}

}  // namespace

at::Tensor& rrelu_with_noise_out(const at::Tensor& self, at::Tensor& noise, const at::Scalar& lower,
                                 const at::Scalar& upper, bool training,
                                 std::optional<at::Generator> generator, at::Tensor& out) {
  TORCH_CHECK(self.sym_sizes() == noise.sym_sizes(),
              "noise tensor shape must match self tensor shape. Got self.shape = ", self.sizes(),
              " noise.shape = ", noise.sizes());
  at::native::resize_output(out, self.sizes());
  if (self.numel() == 0) return out;
  if (!training) {
    return at::leaky_relu_out(out, self, (lower.to<double>() + upper.to<double>()) / 2);
  }
  const at::Tensor input = self.contiguous();
  const at::Tensor slopes = noise.contiguous(), output = out.contiguous();
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, self.scalar_type(), "rrelu_with_noise_out_cuda", [&] {
        train<scalar_t>(input, slopes, output, lower.to<double>(), upper.to<double>(),
                        philox_generator(generator));
      });
  // CUDA leaves a noise that is not contiguous as it was, which its backward pass then reads.
  if (!noise.is_contiguous()) noise.copy_(slopes);
  if (!out.is_contiguous()) out.copy_(output);
  return out;
}

at::Tensor rrelu_with_noise(const at::Tensor& self, at::Tensor& noise, const at::Scalar& lower,
                            const at::Scalar& upper, bool training,
                            std::optional<at::Generator> generator) {
  at::Tensor out = at::empty_like(self, at::MemoryFormat::Contiguous);
  return rrelu_with_noise_out(self, noise, lower, upper, training, std::move(generator), out);
}

at::Tensor& rrelu_with_noise_(at::Tensor& self, at::Tensor& noise, const at::Scalar& lower,
                              const at::Scalar& upper, bool training,
                              std::optional<at::Generator> generator) {
  return rrelu_with_noise_out(self, noise, lower, upper, training, std::move(generator), self);
}

}  // namespace torch_remote::emulator::random
