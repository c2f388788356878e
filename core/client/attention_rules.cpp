// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include <ATen/core/Tensor.h>
#include <array>
#include <cstddef>
#include <cstdint>

#include "core/client/planned_results.h"
#include "core/client/rule_functions.h"

namespace torch_remote::client::rules {

// The fused attention that executors map to their own kernel. CPU's output is laid out as the
// query, an accelerator's as [batch, length, heads, width] in memory; logsumexp is in float (double
// for double).
bool attention(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& query = arguments[0].toTensor();
  const at::Tensor& key = arguments[1].toTensor();
  if (query.dim() != 4) return false;
  const std::int64_t batch = query.size(0), heads = query.size(1), length = query.size(2),
                     width = query.size(3);
  const std::array<std::int64_t, 4> output_strides = {length * heads * width, width, heads * width,
                                                      1};
  const std::array<std::int64_t, 3> statistics_strides = {length * heads, 1, heads};
  if (plan.kernels == Kernels::kAccelerator) {
    add_tensor(plan, query.sizes(), output_strides, query.scalar_type());
  } else {
    add_tensor(plan, query.sizes(), preserved_strides(query), query.scalar_type());
  }
  add_tensor(plan, {batch, heads, length}, statistics_strides,
             query.scalar_type() == c10::ScalarType::Double ? c10::ScalarType::Double
                                                            : c10::ScalarType::Float);
  add_undefined(plan);  // cum_seq_q
  add_undefined(plan);  // cum_seq_k
  add_integer(plan, length);
  add_integer(plan, key.size(2));
  // As on CUDA, and as the compiler's graphs expect it, these two are there without dropout as
  // well.
  add_tensor(plan, {}, c10::IntArrayRef(), c10::ScalarType::Long);  // philox_seed
  add_tensor(plan, {}, c10::IntArrayRef(), c10::ScalarType::Long);  // philox_offset
  add_undefined(plan);                                              // debug_attn_mask
  return true;
}

// (grad_out, query, key, value, attn_bias, ...) -> (grad_query, grad_key, grad_value,
// grad_attn_bias). CPU's kernel lays them out as [batch, length, heads, width] in memory, which
// python/torch_remote/_fake_attention.py tells PyTorch's compiler; accelerators' as PyTorch's meta
// function says.
bool attention_backward(Arguments arguments, ClientPlan& plan) {
  for (const std::size_t i : {1, 2, 3}) {
    const at::Tensor& source = arguments[i].toTensor();
    if (source.dim() != 4) return false;
    const std::int64_t heads = source.size(1), length = source.size(2), width = source.size(3);
    const std::array<std::int64_t, 4> strides = {length * heads * width, width, heads * width, 1};
    if (plan.kernels == Kernels::kAccelerator) {
      add_tensor(plan, source.sizes(), preserved_strides(source), source.scalar_type());
    } else {
      add_tensor(plan, source.sizes(), strides, source.scalar_type());
    }
  }
  add_undefined(plan);
  return true;
}

}  // namespace torch_remote::client::rules
