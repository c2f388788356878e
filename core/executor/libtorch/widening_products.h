// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Matrix products whose result has a wider type than the matrices (torch.mm with out_dtype), which
// PyTorch has for accelerators alone. Registered as substitutions.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/stack.h>

namespace torch_remote::executor::libtorch {

// mm.dtype, bmm.dtype and their forms with out.
void widening_product(torch::jit::Stack& stack, const at::Generator& generator);

// addmm.dtype, baddbmm.dtype and their forms with out.
void widening_product_with_sum(torch::jit::Stack& stack, const at::Generator& generator);

}  // namespace torch_remote::executor::libtorch
