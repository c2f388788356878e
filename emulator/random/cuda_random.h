// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The random numbers of an emulated GPU, for an executor's options (random_source of
// core/executor/libtorch/libtorch_executor.h). Free of torch headers.
#pragma once

#include <memory>

#include "emulator/gpu_model.h"

namespace torch_remote::executor::libtorch {
class RandomSource;
}  // namespace torch_remote::executor::libtorch

namespace torch_remote::emulator {

// The first call registers the kernels with PyTorch, for the life of the process.
std::shared_ptr<const executor::libtorch::RandomSource> cuda_random_source(const GpuModel& model);

}  // namespace torch_remote::emulator
