// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Shapes of results of operators that are called often, and for which PyTorch has no C++ meta
// function. Each rule mirrors the operator's kernel; python/tests/test_shape_rules.py compares
// them.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>
#include <string_view>

#include "core/client/plan.h"

namespace torch_remote::client {

// Fills plan.returns and plan.tensors. False when the arguments are not of the rule's plain kind:
// then the next way to infer is taken. Throws c10::Error for arguments that don't fit each other.
using ShapeRule = bool (*)(c10::ArrayRef<c10::IValue> arguments, ClientPlan& plan);

ShapeRule find_shape_rule(std::string_view name, std::string_view overload);

}  // namespace torch_remote::client
