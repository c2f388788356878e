// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// CUDA for --device cuda. The program itself links nothing of it, so that it starts on machines
// that have none; what computes on GPUs is a plugin beside the program (backends/cuda_direct).
#pragma once

#include "core/executor/executor.h"
#include "core/executor/libtorch/libtorch_executor.h"

namespace torch_remote::executor {

// What the plugin exports under kMakeCudaFactory. Both sides come from the same build.
using MakeCudaFactory = void(const LibtorchOptions& options, ExecutorFactory& factory);
constexpr const char* kMakeCudaFactory = "torch_remote_make_cuda_factory";

// Throws std::runtime_error that says what is missing and what to do: a GPU, its driver, or the
// plugin. To be called before anything else has asked PyTorch for CUDA, which looks for it once.
ExecutorFactory load_cuda_factory(const LibtorchOptions& options);

}  // namespace torch_remote::executor
