// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What PyTorch throws, as the executor interface wants it: an ErrorKind, and a message that does
// not carry a C++ backtrace.
#pragma once

namespace torch_remote::executor::libtorch {

// To be called while an exception is handled: throws the ExecutorError that it means. Exceptions
// that are none of PyTorch's or of a kernel in Python are thrown on as they are.
[[noreturn]] void throw_translated();

template <typename Action>
decltype(auto) translating_errors(Action action) {
  try {
    return action();
  } catch (...) {
    throw_translated();
  }
}

}  // namespace torch_remote::executor::libtorch
