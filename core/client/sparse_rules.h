// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What is known of the results of calls with sparse arguments. PyTorch's meta functions don't know
// sparse tensors, and how many values a sparse result has depends on values: all but a few
// operators with strided results ask the executor.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>
#include <optional>

#include "core/client/operator_record.h"
#include "core/client/plan.h"

namespace torch_remote::client {

// Whether one of the values, or an element of a list among them, is a sparse tensor.
bool has_sparse_tensor(c10::ArrayRef<c10::IValue> values);

// For a call with a sparse argument. False where only the executor can know the results.
bool infer_from_sparse(const OperatorRecord& record, c10::ArrayRef<c10::IValue> arguments,
                       ClientPlan& plan);

// The overload that makes the results of this out= overload, where it takes such arguments.
// Outs can't be planned: the sizes of the results are not known.
std::optional<c10::OperatorHandle> maker_from_sparse(const OperatorRecord& record,
                                                     c10::ArrayRef<c10::IValue> arguments);

}  // namespace torch_remote::client
