// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The fused cells of recurrent networks on the CPU: PyTorch has them for accelerators alone.
// Substitutes of aten::_thnn_fused_... (substitutions.h). The workspace is what the backward needs;
// only these functions look into it.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/stack.h>

namespace torch_remote::executor::libtorch {

void lstm_cell(torch::jit::Stack& stack, const at::Generator& generator);
void lstm_cell_backward(torch::jit::Stack& stack, const at::Generator& generator);
void gru_cell(torch::jit::Stack& stack, const at::Generator& generator);
void gru_cell_backward(torch::jit::Stack& stack, const at::Generator& generator);

}  // namespace torch_remote::executor::libtorch
