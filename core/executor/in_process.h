// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// An executor within this process: a Worker on a thread of its own behind an inproc socket. The
// bytes are those that a remote executor would get.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include <zmq.hpp>

#include "core/executor/executor.h"

namespace torch_remote::executor {

// Serves one session. The thread ends with the session's goodbye; the destructor ends it otherwise,
// after the operation that it is executing.
class InProcessExecutor {
 public:
  explicit InProcessExecutor(ExecutorFactory factory);
  InProcessExecutor(const InProcessExecutor&) = delete;
  InProcessExecutor& operator=(const InProcessExecutor&) = delete;
  ~InProcessExecutor();

  // Where the session connects: the endpoint exists in this context alone.
  const std::shared_ptr<zmq::context_t>& context() const { return context_; }
  static std::string endpoint() { return "inproc://executor"; }

 private:
  std::shared_ptr<zmq::context_t> context_;
  std::shared_ptr<std::atomic<bool>> abandoned_ = std::make_shared<std::atomic<bool>>(false);
  std::thread thread_;
};

// Whether an executor of this process computes on the calling thread. An operator's kernel, which
// may be the program's own, must not wait there for what the executor has yet to do.
bool is_in_process_executor_thread() noexcept;

}  // namespace torch_remote::executor
