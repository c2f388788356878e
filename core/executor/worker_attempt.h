// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// How a worker runs what may fail. Part of worker.cpp's neighbours; nothing else includes it.
#pragma once

#include <exception>
#include <memory>
#include <utility>

#include "core/executor/worker.h"
#include "core/protocol/bytes.h"

namespace torch_remote::executor {

// What fails is told to the client, and marks the storage, if it is one's.
template <typename Action>
void Worker::attempt(TensorId id, const char* what, Action action) {
  if (!failed_.empty() && failed_.contains(id)) return;
  try {
    action();
  } catch (const protocol::ProtocolError&) {
    throw;
  } catch (const std::exception&) {
    protocol::Failure failure = *current_failure(nullptr);
    failure.operator_name = what;
    replies_.failure(failure);
    if (id != 0) failed_[id] = std::make_shared<const protocol::Failure>(std::move(failure));
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
