// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// torch.set_default_dtype is this process's own: executors keep float32. Where it would decide
// about a result, the call is changed into one that says the dtype.
#pragma once

#include <ATen/core/stack.h>

#include "core/client/operator_record.h"

namespace torch_remote::client {

// Whether the program has set another default than float32.
bool has_other_default_dtype();

// Changes the operator's arguments, the last ones on the stack. Integers that would become the
// default dtype are converted to it first, and factories are told the dtype of what they make.
void say_default_dtype(const OperatorRecord& record, torch::jit::Stack& stack);

}  // namespace torch_remote::client
