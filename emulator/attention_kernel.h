// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Which of CUDA's fused attention kernels a GPU takes. It decides about memory (workspace) and
// about time, which must not disagree.
#pragma once

#include <cstdint>

#include "emulator/gpu_model.h"

namespace torch_remote::emulator {

// cuDNN's, FlashAttention-2, and that of xFormers ("memory efficient", CUTLASS).
enum class AttentionKernel : std::uint8_t { kCudnn, kFlash, kEfficient };

// What a program names of them; kByGpu is what PyTorch takes by itself.
enum class AttentionChoice : std::uint8_t { kByGpu, kFlash, kEfficient, kCudnn };

struct AttentionTraits {
  bool is_half = false;  // float16 or bfloat16
  std::uint64_t width = 0;
  bool has_mask = false;
};

// cuDNN's on Hopper and datacenter Blackwell, FlashAttention from Ampere on, the memory-efficient
// one for float32, with a mask, and on Turing (ATen/native/transformers/cuda/sdp_utils.cpp).
inline AttentionKernel attention_kernel(const GpuModel& gpu, AttentionChoice choice,
                                        const AttentionTraits& traits) {
  if (!traits.is_half) return AttentionKernel::kEfficient;
  switch (choice) {
    case AttentionChoice::kCudnn:
      return AttentionKernel::kCudnn;
    case AttentionChoice::kFlash:
      return AttentionKernel::kFlash;
    case AttentionChoice::kEfficient:
      return AttentionKernel::kEfficient;
    case AttentionChoice::kByGpu:
      break;
  }
  constexpr std::uint64_t kCudnnWidthMax = 128, kFlashWidthMax = 256;
  const std::int32_t major = gpu.capability_major;
  if ((major == 9 || major == 10) && traits.width <= kCudnnWidthMax && traits.width % 8 == 0)
    return AttentionKernel::kCudnn;
  if (major < 8 || traits.has_mask || traits.width > kFlashWidthMax)
    return AttentionKernel::kEfficient;
  return AttentionKernel::kFlash;
}

}  // namespace torch_remote::emulator
