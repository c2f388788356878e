// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/attention.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Generator.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <c10/util/Exception.h>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

namespace torch_remote::executor::libtorch {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

at::Tensor widened(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? tensor : tensor.to(at::kFloat);
}

double scale_of(const Attention& attention) {
  return attention.scale.value_or(1.0 / std::sqrt(static_cast<double>(attention.query.size(-1))));
}

// How many heads of the query share a head of key and value.
std::int64_t group_size(const Attention& attention) {
  if (attention.query.dim() < 3 || attention.key.dim() < 3) return 1;
  const std::int64_t heads = attention.query.size(-3), shared = attention.key.size(-3);
  if (heads == shared) return 1;
  TORCH_CHECK_VALUE(shared > 0 && heads % shared == 0, heads, " heads of a query can't share ",
                    shared, " of a key");
  return heads / shared;
}

// Of key or value: a head for each of the query's.
at::Tensor for_each_head(const at::Tensor& shared, std::int64_t group_size) {
  return group_size == 1 ? widened(shared) : widened(shared).repeat_interleave(group_size, -3);
}

// The gradient of what a group of heads shared.
at::Tensor sum_of_groups(const at::Tensor& gradient, std::int64_t group_size) {
  return group_size == 1 ? gradient : gradient.unflatten(-3, {-1, group_size}).sum(-3);
}

at::Tensor scores_of(const Attention& attention) {
  const at::Tensor key = for_each_head(attention.key, group_size(attention));
  at::Tensor scores = at::matmul(widened(attention.query) * scale_of(attention), key.mT());
  if (attention.bias && attention.bias->scalar_type() == at::kBool) {
    scores.masked_fill_(attention.bias->logical_not(), kNever);
  } else if (attention.bias) {
    scores += *attention.bias;
  }
  if (attention.is_causal) {
    const std::int64_t length = scores.size(-2), keys = scores.size(-1);
    const at::Tensor later =
        at::ones({length, keys}, scores.options().dtype(at::kBool)).triu(/*diagonal=*/1);
    scores.masked_fill_(later, kNever);
  }
  return scores;
}

// A row of which nothing counts has no probabilities, and an output of zeros.
at::Tensor probabilities_of(const at::Tensor& scores, const at::Tensor& logsumexp) {
  const at::Tensor sums = logsumexp.unsqueeze(-1);
  return at::exp(scores - sums).masked_fill_(sums == kNever, 0.0);
}

at::Tensor logsumexp_of(const at::Tensor& scores) {
  const at::Tensor largest = scores.amax(-1, /*keepdim=*/true);
  const at::Tensor shift = largest.masked_fill(largest == kNever, 0.0);
  return (at::exp(scores - shift).sum(-1, /*keepdim=*/true).log() + shift).squeeze(-1);
}

// What each probability is multiplied by: 0 where it is dropped, else so much that the expected
// value stays. Nothing where there is no dropout.
std::optional<at::Tensor> kept_share(const Attention& attention, const at::Tensor& probabilities) {
  if (attention.dropout == 0) return std::nullopt;
  const double keep = 1.0 - attention.dropout;
  const double factor = keep == 0 ? 0.0 : 1.0 / keep;
  if (attention.kept) return attention.kept->mul(factor).to(probabilities.options());
  at::Generator generator =
      at::make_generator<at::CPUGeneratorImpl>(static_cast<std::uint64_t>(attention.seed));
  const at::Tensor kept =
      at::empty(probabilities.sizes(), at::kFloat).bernoulli_(keep, std::move(generator));
  return kept.mul_(factor).to(probabilities.options());
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> attend(const Attention& attention) {
  const at::Tensor scores = scores_of(attention);
  at::Tensor logsumexp = logsumexp_of(scores);
  at::Tensor probabilities = probabilities_of(scores, logsumexp);
  if (const auto kept = kept_share(attention, probabilities)) probabilities *= *kept;
  const at::Tensor output =
      at::matmul(probabilities, for_each_head(attention.value, group_size(attention)));
  return {output.to(attention.query.scalar_type()), std::move(logsumexp)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attend_backward(const Attention& attention,
                                                               const at::Tensor& output_gradient,
                                                               const at::Tensor& output,
                                                               const at::Tensor& logsumexp) {
  const std::int64_t group = group_size(attention);
  const at::Tensor probabilities = probabilities_of(scores_of(attention), logsumexp);
  const auto kept = kept_share(attention, probabilities);
  const at::Tensor gradient = widened(output_gradient);
  const at::Tensor value_gradient =
      at::matmul((kept ? probabilities * *kept : probabilities).mT(), gradient);
  at::Tensor probabilities_gradient =
      at::matmul(gradient, for_each_head(attention.value, group).mT());
  if (kept) probabilities_gradient *= *kept;
  // The gradient of a softmax needs the sum of probabilities times their gradients, which is the
  // sum of output times its gradient.
  const at::Tensor sums = (gradient * widened(output)).sum(-1, /*keepdim=*/true);
  const at::Tensor scores_gradient =
      probabilities * (probabilities_gradient - sums) * scale_of(attention);
  const at::Tensor query_gradient =
      at::matmul(scores_gradient, for_each_head(attention.key, group));
  const at::Tensor key_gradient = at::matmul(scores_gradient.mT(), widened(attention.query));
  return {query_gradient.to(attention.query.scalar_type()),
          sum_of_groups(key_gradient, group).to(attention.key.scalar_type()),
          sum_of_groups(value_gradient, group).to(attention.value.scalar_type())};
}

}  // namespace torch_remote::executor::libtorch
