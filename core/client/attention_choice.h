// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Which kernel scaled_dot_product_attention takes on the device.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <optional>

namespace torch_remote::client {

// A number of sdp::SDPBackend: the fused operator, for which executors have a kernel, where it can
// compute the call and the program has not switched fused kernels off; else the composed one, which
// is slower and keeps the scores for the backward. Looks at metadata alone.
std::int64_t choose_attention(const at::Tensor& query, const at::Tensor& key,
                              const at::Tensor& value, const std::optional<at::Tensor>& mask,
                              double dropout, bool is_causal, std::optional<double> scale,
                              bool enable_gqa);

}  // namespace torch_remote::client
