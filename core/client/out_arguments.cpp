// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/out_arguments.h"

#include <ATen/MemoryOverlap.h>
#include <ATen/core/stack.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/resize.h>
#include <c10/util/Exception.h>
#include <c10/util/strides.h>
#include <cstddef>

#include "core/client/sparse_tensors.h"

namespace torch_remote::client {
namespace {

bool is_out(const OperatorRecord& record, std::size_t index) {
  return record.arguments()[index].written &&
         record.handle().schema().arguments()[index].kwarg_only();
}

// Kernels that find out by themselves how many results there are check their outs first.
void refuse_overlap(const OperatorRecord& record, c10::ArrayRef<c10::IValue> arguments,
                    const at::Tensor& out) {
  if (!record.handle().hasTag(at::Tag::dynamic_output_shape)) return;
  refuse_overlap_within(out);
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!is_out(record, i) && arguments[i].isTensor() && arguments[i].toTensor().defined())
      at::assert_no_overlap(out, arguments[i].toTensor());
  }
}

void check_out(const at::Tensor& out, const at::Tensor& result) {
  TORCH_CHECK(out.scalar_type() == result.scalar_type(), "Expected out tensor to have dtype ",
              result.dtype(), ", but got ", out.dtype(), " instead");
  TORCH_CHECK(out.device() == result.device(), "Expected out tensor to have device ",
              result.device(), ", but got ", out.device(), " instead");
}

}  // namespace

void refuse_overlap_within(const at::Tensor& out) { at::assert_no_internal_overlap(out); }

void resize_out(const at::Tensor& out, c10::IntArrayRef sizes, c10::IntArrayRef strides) {
  if (out.sizes() == sizes) return;
  if (out.numel() != 0) {
    TORCH_WARN("An output with one or more elements was resized since it had shape ", out.sizes(),
               ", which does not match the required output shape ", sizes, ".");
  }
  out.resize_(sizes);
  if (out.strides() != strides) out.as_strided_(sizes, strides);
}

std::vector<c10::IValue> run_functional(const OperatorRecord& record,
                                        const c10::OperatorHandle& functional,
                                        c10::ArrayRef<c10::IValue> arguments) {
  torch::jit::Stack stack;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (is_out(record, i)) {
      refuse_overlap(record, arguments, arguments[i].toTensor());
    } else {
      stack.push_back(arguments[i]);
    }
  }
  functional.callBoxed(stack);
  std::vector<c10::IValue> outs;
  for (std::size_t i = 0; i < record.returns().size(); ++i) {
    const at::Tensor& result = stack[i].toTensor();
    const at::Tensor& out =
        arguments[static_cast<std::size_t>(record.returns()[i].written_argument)].toTensor();
    check_out(out, result);
    if (is_sparse(out) || is_sparse(result)) {  // copies take the other's sizes, or refuse
      outs.emplace_back(out.copy_(result));
      continue;
    }
    resize_out(out, result.sizes(),
               result.is_non_overlapping_and_dense() ? result.strides()
                                                     : c10::contiguous_strides(result.sizes()));
    out.copy_(result);
    outs.emplace_back(out);
  }
  return outs;
}

}  // namespace torch_remote::client
