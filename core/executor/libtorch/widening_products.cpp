// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/widening_products.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/mm.h>
#include <cstddef>
#include <utility>

#include "core/executor/libtorch/stack_values.h"

namespace torch_remote::executor::libtorch {
namespace {

// Into the last argument, where there is one behind the others, as the forms with out have it.
void finish(torch::jit::Stack& stack, std::size_t out_position, at::Tensor result) {
  if (stack.size() > out_position) {
    const at::Tensor out = stack.at(out_position).toTensor();
    out.copy_(result);
    result = out;
  }
  replace(stack, std::move(result));
}

}  // namespace

// Two numbers of 16 bits have an exact product in 32, so this rounds nothing before the sum, as the
// kernels of accelerators don't.
//
// Arguments: self, mat2, out_dtype, out?.
void widening_product(torch::jit::Stack& stack, const at::Generator&) {
  const c10::ScalarType dtype = stack.at(2).toScalarType();
  const at::Tensor first = stack.at(0).toTensor().to(dtype);
  const at::Tensor second = stack.at(1).toTensor().to(dtype);
  finish(stack, 3, first.dim() == 3 ? at::bmm(first, second) : at::mm(first, second));
}

// Arguments: self, mat1, mat2, out_dtype, beta, alpha, out?.
void widening_product_with_sum(torch::jit::Stack& stack, const at::Generator&) {
  const c10::ScalarType dtype = stack.at(3).toScalarType();
  const at::Tensor added = stack.at(0).toTensor().to(dtype);
  const at::Tensor first = stack.at(1).toTensor().to(dtype);
  const at::Tensor second = stack.at(2).toTensor().to(dtype);
  const at::Scalar beta = stack.at(4).toScalar(), alpha = stack.at(5).toScalar();
  finish(stack, 6,
         first.dim() == 3 ? at::baddbmm(added, first, second, beta, alpha)
                          : at::addmm(added, first, second, beta, alpha));
}

}  // namespace torch_remote::executor::libtorch
