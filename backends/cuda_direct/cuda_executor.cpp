// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "backends/cuda_direct/cuda_executor.h"

#include <ATen/Context.h>
#include <c10/core/DeviceType.h>
#include <memory>
#include <utility>

#include "backends/cuda_direct/gpu_description.h"
#include "core/executor/libtorch/errors.h"

namespace torch_remote::executor::cuda {

CudaExecutor::CudaExecutor(const LibtorchOptions& options, const protocol::Hello& hello)
    : AcceleratorExecutor(options, c10::DeviceType::CUDA, hello) {}

std::map<std::string, std::string> CudaExecutor::describe() const {
  auto description = AcceleratorExecutor::describe();
  description["executor"] = "cuda";
  description.merge(gpu_description(device().index()));
  return description;
}

ExecutorFactory cuda_executor_factory(LibtorchOptions options) {
  return [options = std::move(options)](const protocol::Hello& hello) {
    return libtorch::translating_errors([&]() -> std::unique_ptr<Executor> {
      at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
      return std::make_unique<CudaExecutor>(options, hello);
    });
  };
}

}  // namespace torch_remote::executor::cuda
