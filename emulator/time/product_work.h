// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The kernels of matrix products, convolutions and attention.
#pragma once

#include <vector>

#include "emulator/time/operator_arguments.h"
#include "emulator/time/operator_work.h"

namespace torch_remote::emulator {

using Works = std::vector<KernelWork>;

Works product_work(const PlannedOperator& planned, const OperatorTensors& tensors,
                   const WorkContext& context);
Works convolution_work(const PlannedOperator& planned, const OperatorTensors& tensors,
                       const WorkContext& context);
Works attention_work(const PlannedOperator& planned, const OperatorTensors& tensors,
                     const WorkContext& context);

// Reads and writes a tensor once, in another order.
KernelWork layout_change(const protocol::TensorLayout& layout, const WorkContext& context);

}  // namespace torch_remote::emulator
