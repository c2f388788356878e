// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Products of a sparse and a dense matrix that reduce by another operation than a sum
// (torch.sparse.mm with reduce). Registered as substitutions.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/stack.h>

namespace torch_remote::executor::libtorch {

// PyTorch's kernel tells which value won only where a gradient is recorded, which it is on the
// client.
void sparse_mm_reduce(torch::jit::Stack& stack, const at::Generator& generator);

// The kernel believes which value won, which for us is a tensor of the client's.
void sparse_mm_reduce_backward(torch::jit::Stack& stack, const at::Generator& generator);

}  // namespace torch_remote::executor::libtorch
