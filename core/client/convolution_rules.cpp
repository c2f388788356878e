// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include <ATen/core/Tensor.h>
#include <c10/core/MemoryFormat.h>
#include <c10/util/Exception.h>
#include <c10/util/SmallVector.h>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/client/planned_results.h"
#include "core/client/rule_functions.h"

namespace torch_remote::client::rules {
namespace {

void check_convolution(const at::Tensor& input, const at::Tensor& weight, bool is_transposed,
                       std::int64_t groups) {
  TORCH_CHECK(input.dim() == weight.dim(), "Expected ", weight.dim(), "-dimensional input for ",
              weight.dim(), "-dimensional weight ", weight.sizes(), ", but got ", input.dim(),
              "-dimensional input of size ", input.sizes(), " instead");
  if (input.dim() < 2) return;
  const std::int64_t channels = is_transposed ? weight.size(0) : weight.size(1) * groups;
  TORCH_CHECK(input.size(1) == channels, "Given ",
              is_transposed ? "transposed=1" : "groups=" + std::to_string(groups),
              ", weight of size ", weight.sizes(), ", expected input", input.sizes(), " to have ",
              channels, " channels, but got ", input.size(1), " channels instead");
  TORCH_CHECK(input.dtype() == weight.dtype(), "Input type (", input.dtype(), ") and weight type (",
              weight.dtype(), ") should be the same");
}

// CPU's kernels keep channels last when either has it. Other strides would take the next operator
// another way, to other bits.
c10::MemoryFormat convolution_format(const at::Tensor& input, const at::Tensor& weight) {
  const c10::MemoryFormat of_input = input.suggest_memory_format();
  const c10::MemoryFormat format =
      of_input != c10::MemoryFormat::Contiguous ? of_input : weight.suggest_memory_format();
  const bool is_3d_double = input.dim() == 5 && input.scalar_type() == c10::ScalarType::Double;
  return is_3d_double ? c10::MemoryFormat::Contiguous : format;
}

std::int64_t output_channels(const at::Tensor& weight, bool is_transposed, std::int64_t groups) {
  return is_transposed ? weight.size(1) * groups : weight.size(0);
}

}  // namespace

// convolution(input, weight, bias?, stride, padding, dilation, transposed, output_padding, groups)
bool convolution(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  const at::Tensor& weight = arguments[1].toTensor();
  const bool is_transposed = arguments[6].toBool();
  const std::int64_t groups = arguments[8].toInt();
  check_convolution(input, weight, is_transposed, groups);
  if (input.dim() < 3 || input.dim() > 5 || groups < 1) return false;
  const auto at_dimension = [&](std::size_t argument, std::size_t dimension) {
    const auto list = arguments[argument].toIntList();
    return list.empty()              ? -1
           : list.size() == 1        ? list[0]
           : dimension < list.size() ? list[dimension]
                                     : -1;
  };
  c10::SmallVector<std::int64_t, 5> sizes = {input.size(0),
                                             output_channels(weight, is_transposed, groups)};
  for (std::size_t i = 0; i + 2 < input.sizes().size(); ++i) {
    const std::int64_t stride = at_dimension(3, i), padding = at_dimension(4, i),
                       dilation = at_dimension(5, i);
    if (stride < 1 || padding < 0 || dilation < 1) return false;
    const std::int64_t length = input.sizes()[i + 2];
    const std::int64_t reach = dilation * (weight.sizes()[i + 2] - 1) + 1;
    if (is_transposed) {
      if (at_dimension(7, i) < 0) return false;
      sizes.push_back((length - 1) * stride - 2 * padding + reach + at_dimension(7, i));
    } else {
      if (length + 2 * padding < reach) return false;
      sizes.push_back((length + 2 * padding - reach) / stride + 1);
    }
    if (sizes.back() < 1) return false;
  }
  add_in_format(plan, sizes, convolution_format(input, weight), input.scalar_type());
  return true;
}

// convolution_backward(grad_output, input, weight, bias_sizes?, stride, padding, dilation,
// transposed, output_padding, groups, output_mask) -> (grad_input, grad_weight, grad_bias)
bool convolution_backward(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[1].toTensor();
  const at::Tensor& weight = arguments[2].toTensor();
  const auto mask = arguments[10].toBoolList();
  if (input.dim() < 3 || input.dim() > 5 || input.dim() != weight.dim() || mask.size() != 3)
    return false;
  const c10::MemoryFormat format = convolution_format(input, weight);
  if (mask[0])
    add_in_format(plan, input.sizes(), format, input.scalar_type());
  else
    add_undefined(plan);
  if (mask[1])
    add_in_format(plan, weight.sizes(), format, weight.scalar_type());
  else
    add_undefined(plan);
  const std::int64_t channels =
      output_channels(weight, arguments[7].toBool(), arguments[9].toInt());
  if (mask[2])
    add_contiguous(plan, {channels}, weight.scalar_type());
  else
    add_undefined(plan);
  return true;
}

}  // namespace torch_remote::client::rules
