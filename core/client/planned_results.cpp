// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/planned_results.h"

#include <ATen/ExpandUtils.h>
#include <c10/util/strides.h>
#include <cstddef>
#include <utility>

namespace torch_remote::client {

std::vector<std::int64_t> preserved_strides(const at::Tensor& input) {
  return input.is_non_overlapping_and_dense()
             ? input.strides().vec()
             : at::infer_dense_strides(input.sizes(), input.strides());
}

void add_tensor(ClientPlan& plan, c10::IntArrayRef sizes, c10::IntArrayRef strides,
                c10::ScalarType dtype) {
  PlannedTensor tensor;
  tensor.dtype = dtype;
  tensor.sizes.assign(sizes.begin(), sizes.end());
  tensor.strides.assign(strides.begin(), strides.end());
  std::uint64_t elements = 1;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) elements = 0;
    if (elements != 0) elements += static_cast<std::uint64_t>((sizes[i] - 1) * strides[i]);
  }
  tensor.storage_size_bytes = elements * c10::elementSize(dtype);
  plan.tensors.push_back(std::move(tensor));
  plan.returns.push_back({.kind = PlannedReturn::Kind::kTensor});
}

void add_contiguous(ClientPlan& plan, c10::IntArrayRef sizes, c10::ScalarType dtype) {
  add_tensor(plan, sizes, c10::contiguous_strides(sizes), dtype);
}

void add_undefined(ClientPlan& plan) {
  plan.returns.push_back({.kind = PlannedReturn::Kind::kUndefined});
}

void add_integer(ClientPlan& plan, std::int64_t value) {
  plan.returns.push_back({.kind = PlannedReturn::Kind::kInteger, .value = value});
}

void add_in_format(ClientPlan& plan, c10::IntArrayRef sizes, c10::MemoryFormat format,
                   c10::ScalarType dtype) {
  switch (format) {
    case c10::MemoryFormat::ChannelsLast:
      return add_tensor(plan, sizes, c10::get_channels_last_strides_2d(sizes), dtype);
    case c10::MemoryFormat::ChannelsLast3d:
      return add_tensor(plan, sizes, c10::get_channels_last_strides_3d(sizes), dtype);
    default:
      return add_contiguous(plan, sizes, dtype);
  }
}

}  // namespace torch_remote::client
