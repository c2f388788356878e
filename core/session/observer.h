// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What watches a session: models of a GPU's memory and time are observers. They see every command
// in program order, before it is sent, and compute nothing on values.
#pragma once

#include <cstdint>

#include "core/session/tensor_ids.h"

namespace torch_remote::session {

// Called under the session's lock, so by one thread at a time; must not call the session.
class SessionObserver {
 public:
  virtual ~SessionObserver() = default;

  // A storage is about to be made. Throwing refuses it: the operation is then not sent, and the
  // exception reaches the caller of the operation.
  virtual void allocate(TensorId id, std::uint64_t size_bytes) = 0;

  // A storage was dropped, or refused by an observer after this one.
  virtual void free(TensorId id, std::uint64_t size_bytes) noexcept = 0;
};

}  // namespace torch_remote::session
