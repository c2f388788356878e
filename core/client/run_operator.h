// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The way of every operator that has no native registration: encode, find or make the plan, append
// the call, make the results.
#pragma once

#include <ATen/core/stack.h>

#include "core/client/operator_record.h"

namespace torch_remote::client {

// Replaces the operator's arguments at the end of the stack by its results. Any thread.
// Throws c10::Error; nothing has then been sent, or the executor has refused.
void run_operator(const OperatorRecord& record, torch::jit::Stack* stack);

// The same for an operator by name, from within the client.
void run_operator(const char* name, const char* overload, torch::jit::Stack* stack);

// TORCH_REMOTE_SYNC=1: every operation waits for its result, so that errors come at their line.
bool is_synchronous();

}  // namespace torch_remote::client
