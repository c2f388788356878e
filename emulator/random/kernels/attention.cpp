// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/random/kernels/attention.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <c10/util/Exception.h>
#include <cstdint>
#include <span>
#include <utility>

#include "core/executor/libtorch/attention.h"
#include "core/executor/libtorch/stack_values.h"
#include "emulator/random/attention_dropout.h"
#include "emulator/random/kernels/generator.h"

namespace torch_remote::emulator::random {
namespace {

using executor::libtorch::Attention;
using executor::libtorch::optional_tensor;
using executor::libtorch::replace;
using torch::jit::Stack;

constexpr std::string_view kForward = "aten::_scaled_dot_product_fused_attention_overrideable";
constexpr std::string_view kBackward =
    "aten::_scaled_dot_product_fused_attention_overrideable_backward";

ScoresShape shape_of(const Attention& attention) {
  const at::Tensor& query = attention.query;
  return {.head_count = query.size(0) * query.size(1),
          .query_count = query.size(2),
          .key_count = attention.key.size(2)};
}

// Which kernel PyTorch takes on the GPU: FlashAttention where it can compute the call.
bool takes_flash(const Attention& attention, const Card& card) {
  const at::ScalarType dtype = attention.query.scalar_type();
  return card.has_flash_attention && (dtype == at::kHalf || dtype == at::kBFloat16) &&
         !attention.bias && attention.query.size(3) <= 256;
}

at::Tensor kept(const Attention& attention, bool is_flash, std::uint64_t seed,
                std::uint64_t offset) {
  const ScoresShape shape = shape_of(attention);
  at::Tensor mask = at::empty(
      {attention.query.size(0), attention.query.size(1), shape.query_count, shape.key_count},
      at::TensorOptions(at::kFloat));
  const std::span<float> flags(mask.mutable_data_ptr<float>(), shape.element_count());
  (is_flash ? flash_kept : efficient_kept)(shape, seed, offset, attention.dropout, flags);
  return mask;
}

// Reserves what the kernel takes, and returns where it begins.
Draws draw_kept(Attention& attention, bool is_flash, PhiloxGenerator& generator) {
  const ScoresShape shape = shape_of(attention);
  const Draws draws =
      generator.reserve(is_flash ? flash_increment(shape) : efficient_increment(shape));
  attention.kept = kept(attention, is_flash, draws.seed, draws.offset());
  return draws;
}

// ---- the operator that the client takes ----

// Arguments: query, key, value, attn_bias, dropout_p, is_causal, return_debug_mask, scale.
void forward(Stack& stack, const at::Generator& generator) {
  Attention attention{.query = stack.at(0).toTensor(),
                      .key = stack.at(1).toTensor(),
                      .value = stack.at(2).toTensor(),
                      .bias = optional_tensor(stack.at(3)),
                      .is_causal = stack.at(5).toBool(),
                      .scale = stack.at(7).toOptional<double>()};
  attention.dropout = stack.at(4).toDouble();
  if (attention.dropout == 0)
    return executor::libtorch::find_substitute(kForward, c10::kCPU)(stack, generator);
  PhiloxGenerator& philox = philox_generator(generator);
  const Draws draws = draw_kept(attention, takes_flash(attention, philox.card()), philox);
  auto [output, logsumexp] = executor::libtorch::attend(attention);
  const auto number = attention.query.options().dtype(at::kLong);
  replace(stack, std::move(output), std::move(logsumexp), at::Tensor(), at::Tensor(),
          attention.query.size(2), attention.key.size(2),
          at::full({}, static_cast<std::int64_t>(draws.seed), number),
          at::full({}, static_cast<std::int64_t>(draws.offset()), number), at::Tensor());
}

// Arguments: grad_out, query, key, value, attn_bias, grad_input_mask, out, logsumexp, cum_seq_q,
// cum_seq_k, max_q, max_k, dropout_p, is_causal, philox_seed, philox_offset, scale.
void backward(Stack& stack, const at::Generator& generator) {
  Attention attention{.query = stack.at(1).toTensor(),
                      .key = stack.at(2).toTensor(),
                      .value = stack.at(3).toTensor(),
                      .bias = optional_tensor(stack.at(4)),
                      .is_causal = stack.at(13).toBool(),
                      .scale = stack.at(16).toOptional<double>()};
  attention.dropout = stack.at(12).toDouble();
  if (attention.dropout == 0)
    return executor::libtorch::find_substitute(kBackward, c10::kCPU)(stack, generator);
  TORCH_CHECK(!stack.at(5).toBoolList().get(3),
              "the fused attention has no gradient for attn_bias; scaled_dot_product_attention "
              "takes another kernel where the mask needs one");
  attention.kept = kept(attention, takes_flash(attention, philox_generator(generator).card()),
                        static_cast<std::uint64_t>(stack.at(14).toTensor().item<std::int64_t>()),
                        static_cast<std::uint64_t>(stack.at(15).toTensor().item<std::int64_t>()));
  auto [query, key, value] = executor::libtorch::attend_backward(
      attention, stack.at(0).toTensor(), stack.at(6).toTensor(), stack.at(7).toTensor());
  replace(stack, std::move(query), std::move(key), std::move(value), at::Tensor());
}

}  // namespace

executor::libtorch::SubstituteFunction attention_substitute(std::string_view name) {
  if (name == kForward) return &forward;
  if (name == kBackward) return &backward;
  return nullptr;
}

}  // namespace torch_remote::emulator::random
