// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include <ATen/core/Tensor.h>
#include <algorithm>
#include <array>
#include <c10/core/MemoryFormat.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/SmallVector.h>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/client/planned_results.h"
#include "core/client/rule_functions.h"

namespace torch_remote::client::rules {
namespace {

// Whether parameters have another dtype than the input; the kernels then keep statistics in float.
bool parameters_are_mixed(Arguments parameters, const at::Tensor& input) {
  return std::ranges::any_of(parameters, [&](const c10::IValue& parameter) {
    return parameter.isTensor() && parameter.toTensor().defined() &&
           parameter.toTensor().scalar_type() != input.scalar_type();
  });
}

// Of the mean and the like. CUDA's kernels keep them in the type in which they add up.
c10::ScalarType statistics_dtype(const at::Tensor& input, bool is_mixed, const ClientPlan& plan) {
  const bool widens = is_mixed || plan.kernels == Kernels::kAccelerator;
  return widens && c10::isReducedFloatingType(input.scalar_type()) ? c10::ScalarType::Float
                                                                   : input.scalar_type();
}

// The layout that CPU's normalizations give their output.
c10::MemoryFormat output_format(const at::Tensor& input) {
  return input.is_contiguous() ? c10::MemoryFormat::Contiguous : input.suggest_memory_format();
}

// The output, and two statistics of so many elements. weight?, bias? and, where there are four
// parameters, running_mean? and running_var? follow the input.
bool normalized_batch(Arguments arguments, std::size_t parameter_count,
                      std::int64_t statistics_size, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  if (input.dim() < 2) return false;
  const bool is_mixed = parameters_are_mixed(arguments.slice(1, parameter_count), input);
  if (is_mixed && !c10::isReducedFloatingType(input.scalar_type())) return false;
  const c10::ScalarType dtype = statistics_dtype(input, is_mixed, plan);
  const std::array<std::int64_t, 1> statistics = {statistics_size};
  add_in_format(plan, input.sizes(), output_format(input), input.scalar_type());
  add_contiguous(plan, statistics, dtype);
  add_contiguous(plan, statistics, dtype);
  return true;
}

// Sizes of the statistics of each row: those of the input, but 1 where it is normalized. Nothing
// where the input doesn't end with the normalized shape.
std::optional<c10::SmallVector<std::int64_t, 5>> row_statistics(const at::Tensor& input,
                                                                const c10::IValue& normalized) {
  const std::vector<std::int64_t> shape = normalized.toIntVector();
  if (shape.empty() || shape.size() > input.sizes().size()) return std::nullopt;
  const std::size_t outer = input.sizes().size() - shape.size();
  if (input.sizes().slice(outer) != c10::IntArrayRef(shape)) return std::nullopt;
  c10::SmallVector<std::int64_t, 5> sizes(input.sizes().begin(), input.sizes().end());
  for (std::size_t i = outer; i < sizes.size(); ++i) sizes[i] = 1;
  return sizes;
}

// The gradients that the mask, the last argument, asks for, each like what it is the gradient of.
bool gradients_of(c10::ArrayRef<std::size_t> sources, Arguments arguments, ClientPlan& plan) {
  const auto mask = arguments.back().toBoolList();
  if (mask.size() != sources.size()) return false;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const c10::IValue& source = arguments[sources[i]];
    if (mask[i] && !(source.isTensor() && source.toTensor().defined())) return false;
  }
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (mask[i]) {
      const at::Tensor& source = arguments[sources[i]].toTensor();
      add_contiguous(plan, source.sizes(), source.scalar_type());
    } else {
      add_undefined(plan);
    }
  }
  return true;
}

}  // namespace

// native_layer_norm(input, normalized_shape, weight?, bias?, eps) -> (output, mean, rstd)
bool layer_norm(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  const bool is_mixed = parameters_are_mixed(arguments.slice(2, 2), input);
  if (is_mixed && !c10::isReducedFloatingType(input.scalar_type())) return false;
  const auto statistics = row_statistics(input, arguments[1]);
  if (!statistics) return false;
  const c10::ScalarType dtype = statistics_dtype(input, is_mixed, plan);
  add_contiguous(plan, input.sizes(), input.scalar_type());
  add_contiguous(plan, *statistics, dtype);
  add_contiguous(plan, *statistics, dtype);
  return true;
}

// native_layer_norm_backward(grad_out, input, normalized_shape, mean, rstd, weight?, bias?,
// output_mask) -> (grad_input, grad_weight, grad_bias)
bool layer_norm_backward(Arguments arguments, ClientPlan& plan) {
  constexpr std::array<std::size_t, 3> kSources = {1, 5, 6};
  return gradients_of(kSources, arguments, plan);
}

// _fused_rms_norm(input, normalized_shape, weight?, eps?) -> (output, rstd), the latter in the type
// in which the kernel adds up.
bool rms_norm(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  const auto statistics = row_statistics(input, arguments[1]);
  if (!statistics || !c10::isFloatingType(input.scalar_type()) ||
      parameters_are_mixed(arguments.slice(2, 1), input))
    return false;
  add_contiguous(plan, input.sizes(), input.scalar_type());
  add_contiguous(plan, *statistics,
                 c10::isReducedFloatingType(input.scalar_type()) ? c10::ScalarType::Float
                                                                 : input.scalar_type());
  return true;
}

// _fused_rms_norm_backward(grad_out, input, normalized_shape, rstd, weight?, output_mask) ->
// (grad_input, grad_weight)
bool rms_norm_backward(Arguments arguments, ClientPlan& plan) {
  constexpr std::array<std::size_t, 2> kSources = {1, 4};
  return gradients_of(kSources, arguments, plan);
}

// native_batch_norm(input, weight?, bias?, running_mean?, running_var?, training, ...) ->
// (output, save_mean, save_invstd). Where there was no training, CPU's kernels give empty
// statistics, CUDA's and the meta function don't.
bool batch_norm(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  const bool has_statistics = arguments[5].toBool() || plan.kernels == Kernels::kAccelerator;
  return normalized_batch(arguments, 4, has_statistics && input.dim() > 1 ? input.size(1) : 0,
                          plan);
}

// _native_batch_norm_legit.no_stats(input, weight?, bias?, training, ...) -> (output, save_mean,
// save_invstd)
bool batch_norm_without_running(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  const bool has_statistics = arguments[3].toBool() || plan.kernels == Kernels::kAccelerator;
  return normalized_batch(arguments, 2, has_statistics && input.dim() > 1 ? input.size(1) : 0,
                          plan);
}

// _batch_norm_with_update(input, weight?, bias?, running_mean, running_var, momentum, eps) ->
// (output, save_mean, save_invstd, reserve)
bool batch_norm_with_update(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  if (!normalized_batch(arguments, 4, input.dim() > 1 ? input.size(1) : 0, plan)) return false;
  add_contiguous(plan, {0}, c10::ScalarType::Byte);
  return true;
}

// native_batch_norm_backward(grad_out, input, weight?, running_mean?, running_var?, save_mean?,
// save_invstd?, train, eps, output_mask) -> (grad_input, grad_weight, grad_bias). CPU's kernel lays
// the first out by the input alone; PyTorch's own function would follow the gradient.
bool batch_norm_backward(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[1].toTensor();
  const auto mask = arguments[9].toBoolList();
  if (plan.kernels != Kernels::kCpu || input.dim() < 2 || mask.size() != 3) return false;
  const bool is_mixed = parameters_are_mixed(arguments.slice(2, 5), input);
  if (is_mixed && !c10::isReducedFloatingType(input.scalar_type())) return false;
  if (mask[0]) {
    add_in_format(plan, input.sizes(), input.suggest_memory_format(), input.scalar_type());
  } else {
    add_undefined(plan);
  }
  for (const bool is_wanted : {mask[1], mask[2]}) {
    if (is_wanted) {
      add_contiguous(plan, {input.size(1)}, statistics_dtype(input, is_mixed, plan));
    } else {
      add_undefined(plan);
    }
  }
  return true;
}

}  // namespace torch_remote::client::rules
