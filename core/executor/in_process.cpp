// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/in_process.h"

#include <utility>

#include "core/executor/worker.h"
#include "core/transport/signals.h"

namespace torch_remote::executor {
namespace {
thread_local bool is_executor_thread = false;
}  // namespace

bool is_in_process_executor_thread() noexcept { return is_executor_thread; }

InProcessExecutor::InProcessExecutor(ExecutorFactory factory)
    : context_(std::make_shared<zmq::context_t>(/*io_threads=*/0)) {
  zmq::socket_t socket(*context_, zmq::socket_type::dealer);
  socket.set(zmq::sockopt::linger, 1000);  // the last word reaches the other end
  socket.set(zmq::sockopt::sndhwm, 0);
  socket.set(zmq::sockopt::rcvhwm, 0);
  transport::uninterrupted([&] { socket.bind(endpoint()); });
  thread_ = transport::start_background_thread(
      [socket = std::move(socket), factory = std::move(factory), abandoned = abandoned_]() mutable {
        is_executor_thread = true;
        Worker(std::move(socket), std::move(factory), /*epoch=*/1, std::move(abandoned)).run();
      });
}

InProcessExecutor::~InProcessExecutor() {
  *abandoned_ = true;
  context_->shutdown();
  thread_.join();
}

}  // namespace torch_remote::executor
