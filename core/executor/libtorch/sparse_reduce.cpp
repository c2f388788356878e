// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/sparse_reduce.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_sparse_mm_reduce_impl.h>
#include <ATen/ops/_sparse_mm_reduce_impl_backward.h>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>

#include "core/executor/executor.h"
#include "core/executor/libtorch/stack_values.h"

namespace torch_remote::executor::libtorch {
namespace {

std::array<bool, 2> mask_of(const c10::IValue& value) {
  const auto list = value.toBoolList();
  TORCH_CHECK_VALUE(list.size() == 2, "a mask of 2 was expected, not of ", list.size());
  return {list[0], list[1]};
}

// The number of all values stands for a row that has none.
void check_winners(const at::Tensor& winners, const at::Tensor& gradient, std::int64_t count) {
  const bool is_valid = winners.layout() == c10::kStrided && winners.sizes() == gradient.sizes() &&
                        (winners.numel() == 0 || (winners.min().item<std::int64_t>() >= 0 &&
                                                  winners.max().item<std::int64_t>() <= count));
  if (!is_valid)
    throw ExecutorError(protocol::ErrorKind::kIndex,
                        "arg_out has to name a value of the sparse matrix for each gradient");
}

}  // namespace

// Arguments: self, other, reduce.
void sparse_mm_reduce(torch::jit::Stack& stack, const at::Generator&) {
  const at::AutoGradMode is_recorded(true);
  at::Tensor self = stack.at(0).toTensor();
  self.set_requires_grad(true);
  auto [product, winners] =
      at::_sparse_mm_reduce_impl(self, stack.at(1).toTensor(), stack.at(2).toStringRef());
  self.set_requires_grad(false);
  replace(stack, std::move(product), std::move(winners));
}

// Arguments: self, grad_out, weight, reduce, arg_out, output_mask.
void sparse_mm_reduce_backward(torch::jit::Stack& stack, const at::Generator&) {
  const at::Tensor self = stack.at(0).toTensor(), gradient = stack.at(1).toTensor(),
                   winners = stack.at(4).toTensor();
  const std::string reduce = stack.at(3).toStringRef();
  if ((reduce == "amax" || reduce == "amin") && self._nnz() != 0)
    check_winners(winners, gradient, self._nnz());
  auto [of_self, of_weight] = at::_sparse_mm_reduce_impl_backward(
      self, gradient, stack.at(2).toTensor(), reduce, winners, mask_of(stack.at(5)));
  replace(stack, std::move(of_self), std::move(of_weight));
}

}  // namespace torch_remote::executor::libtorch
