// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// One call of a plan: arguments onto the stack, the operator, results into the storage table.
#pragma once

#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>
#include <cstddef>
#include <span>
#include <vector>

#include "core/executor/libtorch/decoded_plan.h"
#include "core/executor/libtorch/generators.h"
#include "core/executor/libtorch/sparse_tensors.h"
#include "core/executor/libtorch/storage_table.h"
#include "core/protocol/replies.h"

namespace torch_remote::executor::libtorch {

// Keeps the stack and its memory from call to call.
class Caller {
 public:
  Caller(c10::Device device, StorageTable& storages, Generators& generators)
      : device_(device), storages_(storages), generators_(generators) {}

  // Both throw ExecutorError, and whatever the operator throws. values are as long as the plan
  // says.
  void call(const DecodedPlan& plan, std::span<const std::byte> values);
  std::vector<protocol::DescribedOutput> call_and_describe(const DecodedPlan& plan,
                                                           TensorId first_output_id,
                                                           std::span<const std::byte> values);

 private:
  class Values;
  class ClearAtEnd;
  struct ResizableArgument {
    TensorId id;
    at::Tensor tensor;
    const PlannedTensor* planned;
  };

  void run(const DecodedPlan& plan, Values& values);
  c10::IValue fill(const PlannedArgument& argument, Values& values);
  const at::Tensor& fill_tensor(const PlannedArgument& argument, Values& values);
  template <typename Element>
  c10::IValue fill_list(const PlannedArgument& argument, Values& values);
  at::Tensor fill_sparse_tensor(const PlannedArgument& argument, Values& values);
  c10::IValue fill_number_list(const PlannedArgument& argument, Values& values);
  void check_resizable_arguments(const DecodedPlan& plan);
  void store(const PlannedOutput& planned, c10::IValue result, Values& values);

  c10::Device device_;
  StorageTable& storages_;
  Generators& generators_;
  torch::jit::Stack stack_;
  std::vector<ResizableArgument> resizable_;
  std::vector<SparseArgument> sparse_;
};

}  // namespace torch_remote::executor::libtorch
