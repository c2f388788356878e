// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/substitutions.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/histc.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "core/executor/libtorch/attention.h"
#include "core/executor/libtorch/recurrent_cells.h"
#include "core/executor/libtorch/recurrent_networks.h"
#include "core/executor/libtorch/sparse_reduce.h"
#include "core/executor/libtorch/stack_values.h"
#include "core/executor/libtorch/widening_products.h"

namespace torch_remote::executor::libtorch {
namespace {

template <std::size_t kCount>
std::array<bool, kCount> bool_array(const c10::IValue& value) {
  const auto list = value.toBoolList();
  TORCH_CHECK_VALUE(list.size() == kCount, "a mask of ", kCount, " was expected, not of ",
                    list.size());
  std::array<bool, kCount> flags;
  for (std::size_t i = 0; i < kCount; ++i) flags[i] = list[i];
  return flags;
}

// As native_dropout of the CPU computes, but for the generator.
void native_dropout(torch::jit::Stack& stack, const at::Generator& generator) {
  const at::Tensor input = stack.at(0).toTensor();
  const double keep = 1.0 - stack.at(1).toDouble();
  const bool train = stack.at(2).isNone() || stack.at(2).toBool();
  const auto mask_options = input.options().dtype(at::kBool);
  if (!train) return replace(stack, input.clone(), at::ones_like(input, mask_options));
  at::Tensor mask = at::empty_like(input, mask_options);
  mask.bernoulli_(keep, generator);
  at::Tensor output = input.mul(mask).mul_(keep == 0 ? 0.0 : 1.0 / keep);
  replace(stack, std::move(output), std::move(mask));
}

// Accelerators count integers, for which the CPU has no kernel: programs choose by the client's
// device. Doubles hold them, up to 2^53.
void histc(torch::jit::Stack& stack, const at::Generator&) {
  const at::Tensor input = stack.at(0).toTensor();
  const bool is_integral = at::isIntegralType(input.scalar_type(), /*includeBool=*/false);
  const at::Tensor counts =
      at::histc(is_integral ? input.to(at::kDouble) : input, stack.at(1).toInt(),
                stack.at(2).toScalar(), stack.at(3).toScalar());
  replace(stack, counts.to(input.scalar_type()));
}

void convolution(torch::jit::Stack& stack, const at::Generator&) {
  replace(stack,
          at::convolution(stack.at(0).toTensor(), stack.at(1).toTensor(),
                          optional_tensor(stack.at(2)), stack.at(3).toIntVector(),
                          stack.at(4).toIntVector(), stack.at(5).toIntVector(),
                          stack.at(6).toBool(), stack.at(7).toIntVector(), stack.at(8).toInt()));
}

void convolution_backward(torch::jit::Stack& stack, const at::Generator&) {
  const at::Tensor weight = stack.at(2).toTensor();
  const bool is_transposed = stack.at(6).toBool();
  const std::int64_t groups = stack.at(8).toInt();
  const auto output_mask = bool_array<3>(stack.at(9));
  // The operator for other devices does not tell the bias' size, which is the number of output
  // channels.
  const std::vector<std::int64_t> bias_sizes{is_transposed ? weight.size(1) * groups
                                                           : weight.size(0)};
  at::OptionalIntArrayRef known_bias_sizes;
  if (output_mask[2]) known_bias_sizes = bias_sizes;
  auto [input_gradient, weight_gradient, bias_gradient] = at::convolution_backward(
      stack.at(0).toTensor(), stack.at(1).toTensor(), weight, known_bias_sizes,
      stack.at(3).toIntVector(), stack.at(4).toIntVector(), stack.at(5).toIntVector(),
      is_transposed, stack.at(7).toIntVector(), groups, output_mask);
  replace(stack, std::move(input_gradient), std::move(weight_gradient), std::move(bias_gradient));
}

// What the fused attention returns. The seed is 0 where nothing is dropped; the offset always is.
void replace_with_attention(torch::jit::Stack& stack, const at::Tensor& query,
                            const at::Tensor& key, at::Tensor output, at::Tensor logsumexp,
                            std::int64_t seed = 0) {
  const at::Tensor none;
  const auto number = query.options().dtype(at::kLong);
  replace(stack, std::move(output), std::move(logsumexp), /*cum_seq_q=*/none, /*cum_seq_k=*/none,
          /*max_q=*/query.size(2), /*max_k=*/key.size(2),
          /*philox_seed=*/at::full({}, seed, number),
          /*philox_offset=*/at::zeros({}, number), /*debug_attn_mask=*/none);
}

void check_bias_needs_no_gradient(const torch::jit::Stack& stack) {
  TORCH_CHECK(!bool_array<4>(stack.at(5))[3],
              "the fused attention has no gradient for attn_bias; scaled_dot_product_attention "
              "takes another kernel where the mask needs one");
}

Attention attention_of(torch::jit::Stack& stack, std::size_t first, std::size_t bias,
                       std::size_t is_causal, std::size_t scale) {
  return {.query = stack.at(first).toTensor(),
          .key = stack.at(first + 1).toTensor(),
          .value = stack.at(first + 2).toTensor(),
          .bias = optional_tensor(stack.at(bias)),
          .is_causal = stack.at(is_causal).toBool(),
          .scale = stack.at(scale).toOptional<double>()};
}

void attention_from_parts(torch::jit::Stack& stack, const at::Generator&) {
  const Attention attention = attention_of(stack, 0, 3, 5, 7);
  auto [output, logsumexp] = attend(attention);
  replace_with_attention(stack, attention.query, attention.key, std::move(output),
                         std::move(logsumexp));
}

void attention_backward_from_parts(torch::jit::Stack& stack, const at::Generator&) {
  check_bias_needs_no_gradient(stack);
  Attention attention = attention_of(stack, 1, 4, 13, 16);
  attention.dropout = stack.at(12).toDouble();
  if (attention.dropout != 0) attention.seed = stack.at(14).toTensor().item<std::int64_t>();
  auto [query, key, value] = attend_backward(attention, stack.at(0).toTensor(),
                                             stack.at(6).toTensor(), stack.at(7).toTensor());
  replace(stack, std::move(query), std::move(key), std::move(value), /*attn_bias=*/at::Tensor());
}

// Arguments: query, key, value, attn_bias, dropout_p, is_causal, return_debug_mask, scale. CPU's
// kernel drops nothing.
void attention(torch::jit::Stack& stack, const at::Generator& generator) {
  Attention call = attention_of(stack, 0, 3, 5, 7);
  call.dropout = stack.at(4).toDouble();
  if (call.dropout == 0) {
    auto [output, logsumexp] = at::_scaled_dot_product_flash_attention_for_cpu(
        call.query, call.key, call.value, 0.0, call.is_causal, call.bias, call.scale);
    return replace_with_attention(stack, call.query, call.key, std::move(output),
                                  std::move(logsumexp));
  }
  call.seed = at::empty({}, at::kLong).random_(generator).item<std::int64_t>();
  auto [output, logsumexp] = attend(call);
  replace_with_attention(stack, call.query, call.key, std::move(output), std::move(logsumexp),
                         call.seed);
}

// Arguments: grad_out, query, key, value, attn_bias, grad_input_mask, out, logsumexp, cum_seq_q,
// cum_seq_k, max_q, max_k, dropout_p, is_causal, philox_seed, philox_offset, scale.
void attention_backward(torch::jit::Stack& stack, const at::Generator& generator) {
  if (stack.at(12).toDouble() != 0) return attention_backward_from_parts(stack, generator);
  check_bias_needs_no_gradient(stack);
  auto [query, key, value] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      stack.at(0).toTensor(), stack.at(1).toTensor(), stack.at(2).toTensor(),
      stack.at(3).toTensor(), stack.at(6).toTensor(), stack.at(7).toTensor(), 0.0,
      stack.at(13).toBool(), optional_tensor(stack.at(4)), stack.at(16).toOptional<double>());
  replace(stack, std::move(query), std::move(key), std::move(value), /*attn_bias=*/at::Tensor());
}

// ---- root mean squares ----

// Arguments: grad_out, input, normalized_shape, rstd, weight, output_mask. As CUDA's kernel: all in
// the type in which the sums are made.
void rms_norm_backward(torch::jit::Stack& stack, const at::Generator&) {
  const at::Tensor input = stack.at(1).toTensor(), inverse = stack.at(3).toTensor();
  const std::optional<at::Tensor> weight = optional_tensor(stack.at(4));
  const std::int64_t outer =
      input.dim() - static_cast<std::int64_t>(stack.at(2).toIntVector().size());
  std::vector<std::int64_t> rows, columns;
  for (std::int64_t i = 0; i < input.dim(); ++i) (i < outer ? rows : columns).push_back(i);
  const auto wanted = bool_array<2>(stack.at(5));
  const at::Tensor gradient = stack.at(0).toTensor().to(inverse.scalar_type());
  const at::Tensor normalized = input.to(inverse.scalar_type()) * inverse;
  at::Tensor input_gradient, weight_gradient;
  if (wanted[0]) {
    const at::Tensor scaled = weight ? gradient * *weight : gradient;
    const at::Tensor share = (scaled * normalized).mean(columns, /*keepdim=*/true);
    input_gradient = ((scaled - normalized * share) * inverse).to(input.scalar_type());
  }
  if (wanted[1] && weight) {
    const at::Tensor products = gradient * normalized;
    weight_gradient = (rows.empty() ? products : products.sum(rows)).to(weight->scalar_type());
  }
  replace(stack, std::move(input_gradient), std::move(weight_gradient));
}

struct Substitution {
  std::string_view name;
  SubstituteFunction function;
};

constexpr auto kOnCpu = std::to_array<Substitution>({
    {"aten::_sparse_mm_reduce_impl", sparse_mm_reduce},
    {"aten::_sparse_mm_reduce_impl_backward", sparse_mm_reduce_backward},
    {"aten::mm.dtype", widening_product},
    {"aten::mm.dtype_out", widening_product},
    {"aten::bmm.dtype", widening_product},
    {"aten::bmm.dtype_out", widening_product},
    {"aten::addmm.dtype", widening_product_with_sum},
    {"aten::addmm.dtype_out", widening_product_with_sum},
    {"aten::baddbmm.dtype", widening_product_with_sum},
    {"aten::baddbmm.dtype_out", widening_product_with_sum},
    {"aten::native_dropout", native_dropout},
    {"aten::histc", histc},
    {"aten::_fused_rms_norm_backward", rms_norm_backward},
    {"aten::_thnn_fused_lstm_cell", lstm_cell},
    {"aten::_thnn_fused_lstm_cell_backward_impl", lstm_cell_backward},
    {"aten::_thnn_fused_gru_cell", gru_cell},
    {"aten::_thnn_fused_gru_cell_backward", gru_cell_backward},
    {"aten::_cudnn_rnn", cudnn_rnn},
    {"aten::_cudnn_rnn_backward", cudnn_rnn_backward},
    {"aten::_cudnn_init_dropout_state", cudnn_init_dropout_state},
    {"aten::convolution_overrideable", convolution},
    {"aten::convolution_backward_overrideable", convolution_backward},
    {"aten::_scaled_dot_product_fused_attention_overrideable", attention},
    {"aten::_scaled_dot_product_fused_attention_overrideable_backward", attention_backward},
});

constexpr std::array<Substitution, 4> kOnAccelerators = {{
    {"aten::convolution_overrideable", convolution},
    {"aten::convolution_backward_overrideable", convolution_backward},
    {"aten::_scaled_dot_product_fused_attention_overrideable", attention_from_parts},
    {"aten::_scaled_dot_product_fused_attention_overrideable_backward",
     attention_backward_from_parts},
}};

SubstituteFunction find_in(std::span<const Substitution> substitutions, std::string_view name) {
  const auto found = std::ranges::find(substitutions, name, &Substitution::name);
  return found == substitutions.end() ? nullptr : found->function;
}

}  // namespace

SubstituteFunction find_substitute(std::string_view name, c10::Device device) {
  return device.is_cpu() ? find_in(kOnCpu, name) : find_in(kOnAccelerators, name);
}

}  // namespace torch_remote::executor::libtorch
