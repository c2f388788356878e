// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the client needs of the Python interpreter: its lock around waits, Ctrl-C, and the line of
// the user's program that is running.
#pragma once

#include "core/client/source_location.h"
#include "core/session/wait_policy.h"

namespace torch_remote::python {

// Releases the interpreter's lock while waiting; raises KeyboardInterrupt on Ctrl-C, and refuses to
// go on waiting on the thread of an executor.
class InterpreterWaitPolicy final : public session::WaitPolicy {
 public:
  void* leave() override;
  void resume(void* left) noexcept override;
  void check() override;
};

// To be called first while the module is loaded, with the interpreter's lock.
const client::SourceLocationHooks& interpreter_source_location_hooks();

}  // namespace torch_remote::python
