// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Signals belong to the program that loads this library: its handlers run on its own threads, and
// what they interrupt here goes on.
#pragma once

#include <cerrno>
#include <csignal>
#include <thread>
#include <utility>

#include <zmq.hpp>

namespace torch_remote::transport {

// Any call of ZeroMQ, even one that doesn't wait, fails with EINTR when a signal arrives in it. It
// has done nothing then, and is made again.
template <typename Call>
auto uninterrupted(Call call) {
  for (;;) {
    try {
      return call();
    } catch (const zmq::error_t& error) {
      if (error.num() != EINTR) throw;
    }
  }
}

// While it lives, this thread handles no signals but those that its own code raises by a fault.
class BlockedSignals {
 public:
  BlockedSignals();
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;
  ~BlockedSignals();

 private:
  sigset_t before_;
};

// A thread in which signals are blocked from its start to its end, and in the threads that it
// starts.
template <typename Function>
std::thread start_background_thread(Function function) {
  const BlockedSignals inherited;
  return std::thread(std::move(function));
}

}  // namespace torch_remote::transport
