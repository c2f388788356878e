// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// cuDNN's recurrent networks on the CPU: values from PyTorch's own networks there, layer by layer,
// and gradients by its autograd, which computes the forward again. In float for half precisions, as
// cuDNN does. The functions are substitutes of the operators of the same names (substitutions.h).
// Which elements dropout takes is not cuDNN's choice, which is not public: a state of 16 bytes is a
// seed and a count of calls, and the reserve begins with what its call drew from, so that the
// backward drops the same.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/stack.h>

namespace torch_remote::executor::libtorch {

void cudnn_rnn(torch::jit::Stack& stack, const at::Generator& generator);
void cudnn_rnn_backward(torch::jit::Stack& stack, const at::Generator& generator);
void cudnn_init_dropout_state(torch::jit::Stack& stack, const at::Generator& generator);

}  // namespace torch_remote::executor::libtorch
