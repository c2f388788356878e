// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a program chooses about CUDA's libraries that changes the memory they take, with PyTorch's
// defaults, and what the environment says about them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "emulator/attention_kernel.h"
#include "emulator/gpu_model.h"

namespace torch_remote::emulator {

struct LibrarySettings {
  // torch.backends.cudnn.allow_tf32: float32 convolutions on tensor cores.
  bool allows_convolution_tf32 = true;
  // Of scaled_dot_product_attention; kByGpu takes what PyTorch takes by itself.
  AttentionChoice attention = AttentionChoice::kByGpu;
  // 0: by architecture.
  std::uint64_t cublas_workspace_bytes = 0;
  std::uint64_t cublas_lt_workspace_bytes = 0;
};

// Reads a variable of the environment.
using Environment = std::function<std::optional<std::string_view>(std::string_view name)>;

// CUBLAS_WORKSPACE_CONFIG (":KIB:COUNT" pairs, as cuBLAS reads it) and CUBLASLT_WORKSPACE_SIZE (in
// KiB). Throws std::invalid_argument for what is malformed, with the form that is wanted.
LibrarySettings library_settings(const Environment& environment);

// PyTorch's workspace of a cuBLAS handle and stream: 32 MiB on Hopper and Blackwell, else
// ":4096:2:16:8", that is 8,519,680 bytes (ATen/cuda/CublasHandlePool.cpp).
std::uint64_t cublas_workspace_bytes(const GpuModel& gpu, const LibrarySettings& settings);
// Of cuBLASLt: 1 MiB where nothing else is said, as an H100 and an H200 showed with PyTorch 2.11.
std::uint64_t cublas_lt_workspace_bytes(const LibrarySettings& settings);

}  // namespace torch_remote::emulator
