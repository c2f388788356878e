// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Attention from its parts, for devices without a fused kernel that this executor can name, and for
// what the CPU's has not: needs memory for all scores, and computes in float at least.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <optional>
#include <tuple>

namespace torch_remote::executor::libtorch {

// query [..., H, L, E], key [..., K, S, E], value [..., K, S, V], where each of the K heads serves
// as many of the H (grouped queries), bias broadcast to [..., H, L, S]: added to the scores, or, if
// boolean, false where they don't count.
struct Attention {
  at::Tensor query;
  at::Tensor key;
  at::Tensor value;
  std::optional<at::Tensor> bias;
  bool is_causal = false;
  std::optional<double> scale;  // default: 1 / sqrt(E)
  double dropout = 0;           // the share of probabilities that are dropped
  // 1 for each probability that stays, 0 for the others; where there is none, the seed decides.
  std::optional<at::Tensor> kept = std::nullopt;
  std::int64_t seed = 0;  // of the random numbers that say which, the same in the backward
};

// The output [..., H, L, V] in query's dtype, and the logarithm of each row's sum [..., H, L], in
// float or double, from which the backward gets the probabilities again.
std::tuple<at::Tensor, at::Tensor> attend(const Attention& attention);

// The gradients of query, key and value.
std::tuple<at::Tensor, at::Tensor, at::Tensor> attend_backward(const Attention& attention,
                                                               const at::Tensor& output_gradient,
                                                               const at::Tensor& output,
                                                               const at::Tensor& logsumexp);

}  // namespace torch_remote::executor::libtorch
