// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a call costs the program's thread.
#pragma once

#include "emulator/planned_operator.h"
#include "emulator/time/calibration.h"

namespace torch_remote::emulator {

// In microseconds, with Python and PyTorch's dispatcher around it, without a wait for the GPU.
double host_us(const PlannedOperator& planned, int kernel_count, const Calibration& calibration);

}  // namespace torch_remote::emulator
