// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Session errors become the exceptions that PyTorch's Python bindings know.
#pragma once

#include <utility>

namespace torch_remote::client {

// Rethrows the exception being handled as a c10::Error: the type of the failure, its operator, the
// device, and the line of the user's program. Exceptions that are no session's pass unchanged.
[[noreturn]] void rethrow_as_torch_error(int device_index);

// Runs action and translates what it throws.
template <typename Action>
decltype(auto) with_torch_errors(int device_index, Action&& action) {
  try {
    return std::forward<Action>(action)();
  } catch (...) {
    rethrow_as_torch_error(device_index);
  }
}

}  // namespace torch_remote::client
