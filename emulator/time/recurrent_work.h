// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The kernels of cuDNN's recurrent networks.
#pragma once

#include "emulator/planned_operator.h"
#include "emulator/time/operator_arguments.h"
#include "emulator/time/product_work.h"

namespace torch_remote::emulator {

// Of _cudnn_rnn and _cudnn_rnn_backward.
Works recurrent_work(const PlannedOperator& planned, const WorkContext& context);

}  // namespace torch_remote::emulator
