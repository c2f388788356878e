// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A Server that runs on a thread of this process while it exists: for tests, and for the
// conformance suite, whose own client has to reach the executors that work in process.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <utility>

#include "core/executor/server.h"
#include "core/transport/signals.h"

namespace torch_remote::executor {

class RunningServer {
 public:
  // Throws as Server does. What its run() throws ends the process.
  explicit RunningServer(ExecutorFactory factory, ServerOptions options = {},
                         const std::string& endpoint = "tcp://127.0.0.1:0")
      : server_(endpoint, std::move(factory), std::move(options)),
        thread_(transport::start_background_thread([this] { server_.run(stop_); })) {}
  RunningServer(const RunningServer&) = delete;
  RunningServer& operator=(const RunningServer&) = delete;
  // Without a word to its clients, as after a crash.
  ~RunningServer() {
    if (thread_.joinable()) stop();
  }
  void end(const std::string& reason) {
    stop();
    server_.end_sessions(reason);
  }
  const std::string& endpoint() const { return server_.endpoint(); }

 private:
  void stop() {
    stop_ = true;
    thread_.join();
  }

  Server server_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace torch_remote::executor
