// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The kernels that CUDA's libraries run for an operator, by its name, arguments and outputs.
#pragma once

#include <vector>

#include "emulator/gpu_model.h"
#include "emulator/time/kernel_work.h"

namespace torch_remote::emulator {

struct WorkContext {
  const GpuModel& gpu;
  const PrecisionSettings& settings;
  const Calibration& calibration;
};

// Empty where an operator runs nothing on the GPU.
std::vector<KernelWork> operator_work(const PlannedOperator& planned, const WorkContext& context);

}  // namespace torch_remote::emulator
