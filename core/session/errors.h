// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What can go wrong in a session, as the front ends see it.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "core/protocol/replies.h"

namespace torch_remote::session {

// An operation failed on the executor. location is what the caller gave with the operation.
class OperationError : public std::runtime_error {
 public:
  OperationError(protocol::Failure failure, std::uint32_t location)
      : std::runtime_error(failure.message), failure_(std::move(failure)), location_(location) {}
  const protocol::Failure& failure() const { return failure_; }
  std::uint32_t location() const { return location_; }

 private:
  protocol::Failure failure_;
  std::uint32_t location_;
};

// An observer that models a device's memory refuses a storage, with the device's own text.
class OutOfMemory : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// No session could be made: nothing answered, or the executor refused.
class ConnectError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The session has ended: the executor is gone, was restarted, or broke the protocol. Its tensors
// are lost.
class SessionLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace torch_remote::session
