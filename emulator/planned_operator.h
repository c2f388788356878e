// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the models of a GPU know of an operation: the operator and the plan of its call. Models look
// at it once, when the plan is defined, and keep figures that later calls only add up.
#pragma once

#include <string_view>

#include "core/protocol/plan.h"

namespace torch_remote::emulator {

// Views: valid during the call that they are passed to.
struct PlannedOperator {
  std::string_view name;      // "aten::convolution"
  std::string_view overload;  // "", "out", "Tensor", ...
  const protocol::PlanDefinition& plan;
};

}  // namespace torch_remote::emulator
