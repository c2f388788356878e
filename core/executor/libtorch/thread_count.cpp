// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/thread_count.h"

#include <ATen/Parallel.h>
#include <algorithm>
#include <exception>
#include <mutex>
#include <string>
#include <thread>

#include "core/executor/executor.h"

namespace torch_remote::executor::libtorch {
namespace {

// OpenMP ends the process when the system refuses a thread, so numbers far beyond the machine's
// processors are refused here.
std::uint32_t thread_count_max() { return std::max(64u, 4 * std::thread::hardware_concurrency()); }

template <typename Action>
void run_on_new_thread(Action action) {
  std::exception_ptr failure;
  std::thread([&] {
    try {
      action();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

// PyTorch's set_num_threads() does two things: it sets OpenMP's and MKL's numbers, which belong to
// the calling thread, and the default that threads take when they first ask. The first is wanted;
// the second is put back, by a thread whose own numbers don't matter.
void set_thread_count_of_this_thread(std::uint32_t thread_count) {
  if (thread_count > thread_count_max()) {
    throw ExecutorError(protocol::ErrorKind::kValue,
                        std::to_string(thread_count) + " threads were asked for, at most " +
                            std::to_string(thread_count_max()) + " are allowed here");
  }
  // One at a time: the default of the process is another one for a moment.
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const int current_thread_count = at::get_num_threads();
  if (thread_count == 0 || static_cast<int>(thread_count) == current_thread_count) return;
  int default_thread_count = 1;
  run_on_new_thread([&] { default_thread_count = at::get_num_threads(); });
  at::set_num_threads(static_cast<int>(thread_count));
  run_on_new_thread([&] { at::set_num_threads(default_thread_count); });
}

}  // namespace torch_remote::executor::libtorch
