// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Operators that take strided tensors, but have to do with sparse ones.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

namespace torch_remote::client {

// A sparse gradient is composed here, of what is known: nobody has to be asked for it.
void embedding_bag_backward(const c10::OperatorHandle& handle, torch::jit::Stack* stack);

// Throws at the call whose indices are wrong, as on CPU: whoever wants them checked waits for it.
void validate_compressed_indices(const c10::OperatorHandle& handle, torch::jit::Stack* stack);

}  // namespace torch_remote::client
