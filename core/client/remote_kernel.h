// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The boxed kernel of every operator that an executor runs.
#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <atomic>

#include "core/client/operator_record.h"
#include "core/client/run_operator.h"

namespace torch_remote::client {

// One operator's, which finds its record at the first call.
class RemoteKernel final : public c10::OperatorKernel {
 public:
  void operator()(const c10::OperatorHandle& handle, c10::DispatchKeySet /*keys*/,
                  torch::jit::Stack* stack) {
    const OperatorRecord* record = record_.load(std::memory_order_acquire);
    if (record == nullptr) [[unlikely]] {
      record = &operator_record(handle);
      record_.store(record, std::memory_order_release);
    }
    run_operator(*record, stack);
  }

 private:
  std::atomic<const OperatorRecord*> record_{nullptr};
};

}  // namespace torch_remote::client
