// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Operators whose kernels give their results strides that no function of PyTorch's tells: those of
// LAPACK, of the FFT library in use, and of a few that choose by themselves. The first call with a
// key asks the executor, by one counted round trip; its answer becomes the plan of the next ones.
#pragma once

#include <ATen/core/ivalue.h>
#include <memory>
#include <string_view>
#include <vector>

#include "core/client/operator_record.h"
#include "core/client/plan.h"

namespace torch_remote::client {

// full_name: with the overload. All results of such an operator are tensors.
bool learns_layouts(std::string_view full_name);

// A plan that gives results as these.
std::shared_ptr<const ClientPlan> plan_with_layouts_of(const OperatorRecord& record,
                                                       const std::vector<c10::IValue>& results);

}  // namespace torch_remote::client
