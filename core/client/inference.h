// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The metadata of an operator's results, found out once for each new plan.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>
#include <memory>
#include <vector>

#include "core/client/operator_record.h"
#include "core/client/plan.h"

namespace torch_remote::client {

// Throws what the operator's shape function throws for arguments that don't fit each other: the
// user's error, at the line of the call.
std::shared_ptr<const ClientPlan> infer_plan(const OperatorRecord& record,
                                             c10::ArrayRef<c10::IValue> arguments,
                                             Kernels kernels = Kernels::kCpu);

// The results of a view operator: tensors on the storages of its arguments. No command is needed.
std::vector<c10::IValue> make_views(const OperatorRecord& record,
                                    c10::ArrayRef<c10::IValue> arguments);

// A plan that leaves it to the executor to say what the results are.
std::shared_ptr<const ClientPlan> described_plan();

}  // namespace torch_remote::client
