// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "backends/cuda_direct/cuda_executor.h"

#include <ATen/Context.h>
#include <c10/core/DeviceType.h>
#include <dlfcn.h>
#include <memory>
#include <mutex>
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

namespace {

// PyTorch loads its linear algebra for CUDA at the first call that needs it, in a way that fails
// when two threads, as sessions are here, do that at the same time ("lazy wrapper should be called
// at most once"). Where the library has another name, it stays PyTorch's to load.
void load_linear_algebra() {
  static std::once_flag once;
  std::call_once(once, [] { dlopen("libtorch_cuda_linalg.so", RTLD_NOW | RTLD_LOCAL); });
}

}  // namespace

ExecutorFactory cuda_executor_factory(LibtorchOptions options) {
  return [options = std::move(options)](const protocol::Hello& hello) {
    return libtorch::translating_errors([&]() -> std::unique_ptr<Executor> {
      at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
      load_linear_algebra();
      return std::make_unique<CudaExecutor>(options, hello);
    });
  };
}

}  // namespace torch_remote::executor::cuda
