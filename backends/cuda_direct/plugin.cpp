// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The one name that torch_remote_cuda.so has for torch-remote-executor.
#include <type_traits>

#include "backends/cuda_direct/cuda_executor.h"
#include "core/executor/program/cuda_plugin.h"

extern "C" __attribute__((visibility("default"))) void torch_remote_make_cuda_factory(
    const torch_remote::executor::LibtorchOptions& options,
    torch_remote::executor::ExecutorFactory& factory) {
  factory = torch_remote::executor::cuda::cuda_executor_factory(options);
}

static_assert(std::is_same_v<decltype(torch_remote_make_cuda_factory),
                             torch_remote::executor::MakeCudaFactory>);
