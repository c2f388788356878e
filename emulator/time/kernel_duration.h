// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// How long a kernel takes on a GPU.
#pragma once

#include "emulator/gpu_model.h"
#include "emulator/time/kernel_work.h"

namespace torch_remote::emulator {

// All launches of the work together, in microseconds.
double kernel_us(const KernelWork& work, const GpuModel& gpu, CacheState cache,
                 const Calibration& calibration);

// The peak rate of a unit on the GPU by its data sheet, in 10^12 operations a second, or that of
// the unit that stands in for one it lacks.
double peak_tflops(MathUnit unit, const GpuModel& gpu);

}  // namespace torch_remote::emulator
