// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What PyTorch does with out= arguments before and after a kernel runs.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>
#include <vector>

#include "core/client/operator_record.h"

namespace torch_remote::client {

// Gives an out= argument another shape, in the strides that the kernel gives its results, and warns
// if it had elements. Nothing happens to one that has the shape.
void resize_out(const at::Tensor& out, c10::IntArrayRef sizes, c10::IntArrayRef strides);

// Throws c10::Error where several elements of an out= argument are one, before it takes another
// shape.
void refuse_overlap_within(const at::Tensor& out);

// A call of an out= overload whose results' sizes only the executor knows: functional, which takes
// the same arguments but for the outs, makes them first. They are then copied to the outs, as
// PyTorch's generated out= overloads do it. Returns the outs.
std::vector<c10::IValue> run_functional(const OperatorRecord& record,
                                        const c10::OperatorHandle& functional,
                                        c10::ArrayRef<c10::IValue> arguments);

}  // namespace torch_remote::client
