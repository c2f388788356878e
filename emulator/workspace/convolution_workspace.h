// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Convolutions by cuDNN 9, by what an H100 and an H200 showed. Its tensor-core kernels want
// channels last. Other tensors are copied into the workspace: the input, the weight unless it is
// 1x1, and the result. A weight's gradient is made in parts, so that all multiprocessors have work,
// and each part is a weight in float32. Which kernel the library's heuristics take can't be known
// from outside; the rules are of the terms that are large.
#pragma once

#include <cstdint>

#include "core/protocol/tensor_layout.h"
#include "emulator/workspace/memory_rules.h"

namespace torch_remote::emulator::workspace {

// Of rank 3 or more, with elements. The layouts are the caller's.
struct Convolution {
  const protocol::TensorLayout* input = nullptr;
  const protocol::TensorLayout* weight = nullptr;
  const protocol::TensorLayout* result = nullptr;  // the output, or its gradient
  std::int64_t groups = 1;
  bool is_strided = false;
  bool is_pointwise = false;  // 1x1
  bool is_patchwise = false;  // patches side by side: strides as large as the kernel
};

bool is_channels_last_call(const Convolution& convolution);

// Of the output and the two gradients, in bytes.
std::uint64_t forward_workspace_bytes(const RuleContext& context, const Convolution& convolution);
std::uint64_t input_gradient_workspace_bytes(const RuleContext& context,
                                             const Convolution& convolution);
std::uint64_t weight_gradient_workspace_bytes(const RuleContext& context,
                                              const Convolution& convolution);

}  // namespace torch_remote::emulator::workspace
