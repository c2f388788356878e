// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The order of elements in CUDA's older pointwise kernels (CUDA_tensor_apply2), by which operators
// draw whose parameters are tensors: row-major, after dimensions have changed places so that the
// strides fall.
#pragma once

#include <ATen/MemoryOverlap.h>
#include <ATen/core/Tensor.h>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace torch_remote::emulator::random {

// Views of two tensors of the same sizes whose row-major order is the kernels' order.
inline std::pair<at::Tensor, at::Tensor> in_pointwise_order(const at::Tensor& a,
                                                            const at::Tensor& b) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(a.dim()));
  for (std::size_t d = 0; d < order.size(); ++d) order[d] = static_cast<std::int64_t>(d);
  for (std::size_t i = 0; i + 1 < order.size(); ++i) {
    if (a.size(order[i]) == 1) continue;
    for (std::size_t j = i + 1; j < order.size(); ++j) {
      if (a.size(order[j]) == 1) continue;
      const auto rises = [&](const at::Tensor& t) {
        return t.stride(order[i]) < t.stride(order[j]);
      };
      const auto falls = [&](const at::Tensor& t) {
        return t.stride(order[i]) > t.stride(order[j]);
      };
      if ((rises(a) || rises(b)) && !falls(a) && !falls(b)) std::swap(order[i], order[j]);
    }
  }
  return {a.permute(order), b.permute(order)};
}

}  // namespace torch_remote::emulator::random
