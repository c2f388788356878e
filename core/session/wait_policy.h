// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a thread has to do around a wait. The Python front releases the interpreter's lock and looks
// for Ctrl-C; C++ programs need nothing.
#pragma once

namespace torch_remote::session {

class WaitPolicy {
 public:
  virtual ~WaitPolicy() = default;

  // Before a wait; the result is given back to resume(). Never called with the session's lock held.
  virtual void* leave() { return nullptr; }
  virtual void resume(void* /*left*/) noexcept {}

  // Several times a second while waiting, between resume() and leave(). May throw to end the wait.
  virtual void check() {}
};

}  // namespace torch_remote::session
