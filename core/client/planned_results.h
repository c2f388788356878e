// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What shape rules append to a plan: its results, in the order in which the operator returns them.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/ScalarType.h>
#include <c10/util/ArrayRef.h>
#include <cstdint>
#include <vector>

#include "core/client/plan.h"

namespace torch_remote::client {

// The strides that empty_like gives.
std::vector<std::int64_t> preserved_strides(const at::Tensor& input);

// A fresh tensor whose storage ends with its last element.
void add_tensor(ClientPlan& plan, c10::IntArrayRef sizes, c10::IntArrayRef strides,
                c10::ScalarType dtype);
void add_contiguous(ClientPlan& plan, c10::IntArrayRef sizes, c10::ScalarType dtype);
// Contiguous for every format but the two of channels last.
void add_in_format(ClientPlan& plan, c10::IntArrayRef sizes, c10::MemoryFormat format,
                   c10::ScalarType dtype);
void add_undefined(ClientPlan& plan);
void add_integer(ClientPlan& plan, std::int64_t value);

}  // namespace torch_remote::client
