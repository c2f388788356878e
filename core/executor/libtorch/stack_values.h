// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Arguments and results on the stack of a function that stands in for an operator.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>
#include <optional>
#include <utility>

namespace torch_remote::executor::libtorch {

// Nothing for None and for an undefined tensor.
inline std::optional<at::Tensor> optional_tensor(const c10::IValue& value) {
  if (value.isNone() || !value.toTensor().defined()) return std::nullopt;
  return value.toTensor();
}

// The results in the place of the arguments.
template <typename... Results>
void replace(torch::jit::Stack& stack, Results... results) {
  stack.clear();
  (stack.emplace_back(std::move(results)), ...);
}

}  // namespace torch_remote::executor::libtorch
