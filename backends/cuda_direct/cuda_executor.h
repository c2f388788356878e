// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The executor of one session on an NVIDIA GPU: what every accelerator has, and what only CUDA
// tells about the GPU.
#pragma once

#include <map>
#include <string>

#include "core/executor/libtorch/accelerator_executor.h"
#include "core/executor/libtorch/libtorch_executor.h"

namespace torch_remote::executor::cuda {

class CudaExecutor : public libtorch::AcceleratorExecutor {
 public:
  // PyTorch has to be initialized for CUDA (cuda_executor_factory does it).
  CudaExecutor(const LibtorchOptions& options, const protocol::Hello& hello);

  std::map<std::string, std::string> describe() const override;
};

// PyTorch is initialized for CUDA by the first session, on its thread: an executor starts at once,
// and takes memory of the GPU only when it is used.
ExecutorFactory cuda_executor_factory(LibtorchOptions options);

}  // namespace torch_remote::executor::cuda
