// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// How a worker runs what may fail. Part of worker.cpp's neighbours; nothing else includes it.
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include "core/executor/worker.h"
#include "core/protocol/bytes.h"

namespace torch_remote::executor {

// What fails is told to the client, and marks the storage, if it is one's. Any number is an id:
// that there is none is another thing than 0.
template <typename Action>
void Worker::attempt(std::optional<TensorId> id, const char* what, Action action) {
  if (id && !failed_.empty() && failed_.contains(*id)) return;
  try {
    action();
  } catch (const protocol::ProtocolError&) {
    throw;
  } catch (const std::exception&) {
    protocol::Failure failure = *current_failure(nullptr);
    failure.operator_name = what;
    replies_.failure(failure);
    if (id) failed_[*id] = std::make_shared<const protocol::Failure>(std::move(failure));
  }
}

// For what answers a token: a failure is the answer then.
template <typename Action>
void Worker::answer(protocol::Token token, const char* what, Action action) {
  try {
    action();
  } catch (const std::exception&) {
    fail_reply(token, what);
  }
}

}  // namespace torch_remote::executor
