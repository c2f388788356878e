// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/host_cost.h"

#include <algorithm>

#include "emulator/time/operator_class.h"

namespace torch_remote::emulator {

double host_us(const PlannedOperator& planned, int kernel_count, const Calibration& c) {
  double us = c.host_call_us;
  switch (operator_class(planned.name).kind) {
    case OperatorKind::kNothing:
      return base_name(planned.name).starts_with("empty") ? c.host_empty_us : c.host_view_us;
    case OperatorKind::kProduct:
      us = c.host_product_us;
      break;
    case OperatorKind::kConvolution:
      us = c.host_convolution_us;
      break;
    case OperatorKind::kAttention:
    case OperatorKind::kRecurrent:
    case OperatorKind::kLinearAlgebra:
    case OperatorKind::kTransform:
      us = c.host_library_us;
      break;
    case OperatorKind::kForeach:
    case OperatorKind::kFusedOptimizer:
      us = c.host_list_us;
      for (const protocol::Argument& argument : planned.plan.arguments)
        us += static_cast<double>(argument.elements.size()) * c.host_list_element_us;
      break;
    default:
      break;
  }
  return us + std::max(0, kernel_count - 1) * c.host_per_kernel_us;
}

}  // namespace torch_remote::emulator
