// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// How PyTorch's CUDA reductions share their work among blocks, and the memory in which blocks that
// share an output leave their parts (ATen/native/cuda/Reduce.cuh, setReduceConfig).
#pragma once

#include <cstdint>
#include <span>

#include "core/protocol/tensor_layout.h"
#include "emulator/gpu_model.h"

namespace torch_remote::emulator::workspace {

struct ReductionStaging {
  std::uint64_t parts_bytes = 0;
  std::uint64_t semaphores_bytes = 0;
};

struct Reduction {
  // Of what is added up: 4 for float, 16 for a running variance or a value with its index.
  std::uint64_t accumulator_size_bytes = 0;
  // Values that a thread has under way: 4, and 2 where accumulators are large.
  std::uint32_t values_under_way = 4;
};

// Of the layout over these dimensions (all where there are none). Both are 0 where no two blocks
// share an output.
ReductionStaging reduction_staging(const protocol::TensorLayout& layout,
                                   std::span<const std::int64_t> dimensions,
                                   const Reduction& reduction, const GpuModel& gpu);

}  // namespace torch_remote::emulator::workspace
