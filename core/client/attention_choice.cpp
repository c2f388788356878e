// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/attention_choice.h"

#include <ATen/Context.h>
#include <ATen/native/transformers/sdp_utils_cpp.h>
#include <algorithm>
#include <array>

#include "core/client/device.h"

namespace torch_remote::client {
namespace {

using sdp::SDPBackend;

// Programs that are written for CUDA name its fused kernels; here they all are the one.
bool allows_fused_kernels() {
  const at::Context& context = at::globalContext();
  return context.userEnabledOverrideableSDP() || context.userEnabledFlashSDP() ||
         context.userEnabledMemEfficientSDP() || context.userEnabledCuDNNSDP();
}

bool has_fused_dtype(const at::Tensor& tensor) {
  constexpr std::array kDtypes = {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf};
  return std::ranges::find(kDtypes, tensor.scalar_type()) != kDtypes.end();
}

// [batch, heads, length, width], all but the lengths equal, and none without elements. With grouped
// queries each head of the keys serves as many of the queries'.
bool have_fused_shapes(const sdp::sdp_params& call) {
  for (const at::Tensor* tensor : {&call.query, &call.key, &call.value}) {
    if (tensor->dim() != 4 || tensor->is_nested()) return false;
    if (tensor->sym_size(2) == 0 || tensor->sym_stride(3) != 1) return false;
    for (const std::int64_t dimension : {0, 3}) {
      if (tensor->sym_size(dimension) != call.query.sym_size(dimension)) return false;
    }
  }
  const c10::SymInt heads = call.query.sym_size(1), groups = call.key.sym_size(1);
  if (call.value.sym_size(1) != groups) return false;
  return heads == groups || (call.enable_gqa && groups != 0 && heads % groups == 0);
}

// GPUs have kernels that drop as well, so an emulated one has them. Elsewhere the executor's own
// random numbers are wanted, which are those of the operators that attention is composed of.
bool drops_as_fused(const sdp::sdp_params& call) {
  return call.dropout == 0 || device_of(call.query.device()).emulates_gpu();
}

bool suits_fused_operator(const sdp::sdp_params& call) {
  const bool has_mask = call.attn_mask && call.attn_mask->defined();
  return drops_as_fused(call) && !(has_mask && call.attn_mask->requires_grad()) &&
         has_fused_dtype(call.query) && have_fused_shapes(call) &&
         sdp::check_attn_mask_shape(call, /*debug=*/false);
}

}  // namespace

std::int64_t choose_attention(const at::Tensor& query, const at::Tensor& key,
                              const at::Tensor& value, const std::optional<at::Tensor>& mask,
                              double dropout, bool is_causal, std::optional<double> /*scale*/,
                              bool enable_gqa) {
  const sdp::sdp_params call{query, key, value, mask, dropout, is_causal, enable_gqa};
  if (allows_fused_kernels() && suits_fused_operator(call))
    return static_cast<std::int64_t>(SDPBackend::overrideable);
  // In the words of CUDA's choice.
  TORCH_CHECK(at::globalContext().userEnabledMathSDP(), "No available kernel. Aborting execution.");
  return static_cast<std::int64_t>(SDPBackend::math);
}

}  // namespace torch_remote::client
