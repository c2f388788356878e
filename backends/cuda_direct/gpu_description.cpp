// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "backends/cuda_direct/gpu_description.h"

#include <cuda_runtime_api.h>

#include "core/executor/executor.h"

namespace torch_remote::executor::cuda {
namespace {

void check(cudaError_t error, const std::string& question) {
  if (error == cudaSuccess) return;
  // The failure would be told again by the next call of this thread.
  static_cast<void>(cudaGetLastError());
  throw ExecutorError(protocol::ErrorKind::kAccelerator, "CUDA can't tell " + question + ": " +
                                                             cudaGetErrorString(error) + " (" +
                                                             cudaGetErrorName(error) + ")");
}

}  // namespace

std::map<std::string, std::string> gpu_description(int index) {
  cudaDeviceProp gpu{};
  check(cudaGetDeviceProperties(&gpu, index), "the properties of GPU " + std::to_string(index));
  int driver_version = 0;
  int runtime_version = 0;
  check(cudaDriverGetVersion(&driver_version), "its driver's version");
  check(cudaRuntimeGetVersion(&runtime_version), "its runtime's version");
  const auto text = [](auto number) { return std::to_string(number); };
  return {
      {"gpu_name", gpu.name},
      {"gpu_major", text(gpu.major)},
      {"gpu_minor", text(gpu.minor)},
      {"gpu_total_memory", text(gpu.totalGlobalMem)},
      {"gpu_multi_processor_count", text(gpu.multiProcessorCount)},
      {"gpu_max_threads_per_multi_processor", text(gpu.maxThreadsPerMultiProcessor)},
      {"gpu_max_threads_per_block", text(gpu.maxThreadsPerBlock)},
      {"gpu_warp_size", text(gpu.warpSize)},
      {"gpu_regs_per_multiprocessor", text(gpu.regsPerMultiprocessor)},
      {"gpu_shared_memory_per_block", text(gpu.sharedMemPerBlock)},
      {"gpu_shared_memory_per_block_optin", text(gpu.sharedMemPerBlockOptin)},
      {"gpu_shared_memory_per_multiprocessor", text(gpu.sharedMemPerMultiprocessor)},
      {"gpu_L2_cache_size", text(gpu.l2CacheSize)},
      {"cuda_driver_version", text(driver_version)},
      {"cuda_runtime_version", text(runtime_version)},
  };
}

}  // namespace torch_remote::executor::cuda
