// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A Server that runs on a thread while it exists.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <utility>

#include "core/executor/server.h"

namespace torch_remote::executor {

class RunningServer {
 public:
  explicit RunningServer(ExecutorFactory factory, ServerOptions options = {},
                         const std::string& endpoint = "tcp://127.0.0.1:0")
      : server_(endpoint, std::move(factory), options), thread_([this] { server_.run(stop_); }) {}
  RunningServer(const RunningServer&) = delete;
  RunningServer& operator=(const RunningServer&) = delete;
  ~RunningServer() {
    stop_ = true;
    thread_.join();
  }
  const std::string& endpoint() const { return server_.endpoint(); }

 private:
  Server server_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace torch_remote::executor
