// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/learned_layouts.h"

#include <ATen/core/Tensor.h>
#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "core/protocol/tensor_layout.h"

namespace torch_remote::client {
namespace {

constexpr std::array<std::string_view, 10> kLayoutsAreTheKernels = {
    "aten::_linalg_svd",     "aten::_linalg_eigh",   "aten::linalg_eig", "aten::linalg_lstsq",
    "aten::linalg_lu_solve", "aten::_fft_r2c",       "aten::_fft_c2r",   "aten::max_unpool2d",
    "aten::max_unpool3d",    "aten::nonzero_static",
};

PlannedTensor planned(const at::Tensor& result) {
  PlannedTensor tensor;
  tensor.dtype = result.scalar_type();
  tensor.sizes.assign(result.sizes().begin(), result.sizes().end());
  tensor.strides.assign(result.strides().begin(), result.strides().end());
  tensor.storage_size_bytes = result.storage().nbytes();
  tensor.flags = static_cast<std::uint8_t>((result.is_conj() ? protocol::kConjugateFlag : 0) |
                                           (result.is_neg() ? protocol::kNegativeFlag : 0));
  return tensor;
}

}  // namespace

bool learns_layouts(std::string_view full_name) {
  return std::ranges::find(kLayoutsAreTheKernels, full_name) != kLayoutsAreTheKernels.end();
}

std::shared_ptr<const ClientPlan> plan_with_layouts_of(const OperatorRecord& record,
                                                       const std::vector<c10::IValue>& results) {
  auto plan = std::make_shared<ClientPlan>();
  for (std::size_t i = 0; i < results.size(); ++i) {
    const int written = record.returns()[i].written_argument;
    if (written >= 0) {
      plan->returns.push_back({.kind = PlannedReturn::Kind::kArgument, .value = written});
    } else if (!results[i].toTensor().defined()) {
      plan->returns.push_back({.kind = PlannedReturn::Kind::kUndefined});
    } else {
      plan->tensors.push_back(planned(results[i].toTensor()));
      plan->returns.push_back({.kind = PlannedReturn::Kind::kTensor});
    }
  }
  return plan;
}

}  // namespace torch_remote::client
