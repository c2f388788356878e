// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A plan as calls use it: the operator, its fixed arguments as values that PyTorch takes, and where
// the call's own values go. core/protocol/plan.h is how it travels, call.h runs it.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <cstdint>
#include <string>
#include <vector>

#include "core/executor/libtorch/operator_list.h"
#include "core/executor/libtorch/planned_tensor.h"
#include "core/protocol/plan.h"

namespace torch_remote::executor::libtorch {

struct PlannedArgument {
  // What a call does to get the argument's value.
  enum class Fill : std::uint8_t {
    kFixed,       // takes `fixed`
    kTensor,      // reads an id, and an offset unless it is zero
    kHostScalar,  // reads the bytes of a 0-dimensional CPU tensor
    kInteger,
    kBoolean,
    kDouble,
    kComplex,
    kGenerator,
    kTensorList,
    kOptionalTensorList,
    kNumberList,    // of numbers, of which one or more vary
    kSparseTensor,  // of the tensors that are its elements
  };
  Fill fill = Fill::kFixed;
  std::uint8_t offset_size_bytes = 0;  // kTensor
  bool may_be_resized = false;         // kTensor: an out= argument, to be looked at after the call
  c10::IValue fixed;                   // kNumberList: an empty list of the type that is wanted
  PlannedTensor tensor;                // kTensor
  protocol::SparseLayout sparse;       // kSparseTensor
  bool is_written = false;             // kSparseTensor
  at::Tensor host_scalar;              // kHostScalar: filled anew by each call
  std::vector<PlannedArgument> elements;
};

struct PlannedOutput {
  protocol::OutputKind kind = protocol::OutputKind::kUndefined;
  PlannedTensor tensor;
  std::vector<PlannedOutput> elements;
};

struct DecodedPlan {
  explicit DecodedPlan(const RunnableOperator& found)
      : runnable(found), operator_name(found.name()) {}

  RunnableOperator runnable;
  std::string operator_name;
  bool describes_outputs = false;
  bool has_resizable_arguments = false;
  std::uint32_t values_size_bytes = 0;
  std::vector<PlannedArgument> arguments;
  std::vector<PlannedOutput> outputs;
};

// What plans refer to beside their definition.
struct PlanContext {
  c10::Device device;
  at::Generator default_generator;
  std::uint64_t storage_size_bytes_max;
};

// Throws ExecutorError(kType) when the definition does not fit the operator's schema.
DecodedPlan decode_plan(const protocol::PlanDefinition& definition,
                        const RunnableOperator& runnable, const PlanContext& context);

}  // namespace torch_remote::executor::libtorch
