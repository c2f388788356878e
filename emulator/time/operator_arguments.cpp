// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/operator_arguments.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace torch_remote::emulator {
namespace {

using protocol::Argument;
using protocol::ArgumentKind;
using protocol::Output;
using protocol::OutputKind;
using protocol::TensorLayout;

void collect(const Argument& argument, OperatorTensors& tensors) {
  switch (argument.kind) {
    case ArgumentKind::kTensor:
      tensors.arguments.push_back(&argument.layout);
      (argument.access == protocol::Access::kWrite ? tensors.written : tensors.read)
          .push_back(&argument.layout);
      break;
    case ArgumentKind::kTensorList:
    case ArgumentKind::kSparseTensor:
      for (const Argument& element : argument.elements) collect(element, tensors);
      break;
    default:
      break;
  }
}

void collect(const Output& output, OperatorTensors& tensors) {
  if (output.kind == OutputKind::kFresh) tensors.outputs.push_back(&output.layout);
  for (const Output& element : output.elements) collect(element, tensors);
}

// Dimensions with more than one element, those with the smallest strides first.
std::vector<std::size_t> order_of_dimensions(const TensorLayout& layout) {
  std::vector<std::size_t> order;
  for (std::size_t i = layout.sizes.size(); i-- > 0;) {
    if (layout.sizes[i] > 1) order.push_back(i);
  }
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return layout.strides[i]; });
  return order;
}

const Argument* argument_of_kind(const protocol::PlanDefinition& plan, ArgumentKind kind,
                                 std::size_t position) {
  for (const Argument& argument : plan.arguments) {
    if (argument.kind == kind && position-- == 0) return &argument;
  }
  return nullptr;
}

}  // namespace

OperatorTensors operator_tensors(const protocol::PlanDefinition& plan) {
  OperatorTensors tensors;
  for (const Argument& argument : plan.arguments) collect(argument, tensors);
  for (const Output& output : plan.outputs) collect(output, tensors);
  return tensors;
}

const TensorLayout* result_layout(const OperatorTensors& tensors) {
  if (!tensors.outputs.empty()) return tensors.outputs.front();
  return tensors.written.empty() ? nullptr : tensors.written.front();
}

double element_count(const TensorLayout& layout) {
  return std::accumulate(
      layout.sizes.begin(), layout.sizes.end(), 1.0,
      [](double product, std::int64_t size) { return product * static_cast<double>(size); });
}

double element_size_bytes(const TensorLayout& layout) {
  return static_cast<double>(protocol::data_type_size_bytes(layout.dtype));
}

double distinct_bytes(const TensorLayout& layout) {
  double count = element_size_bytes(layout);
  for (std::size_t i = 0; i < layout.sizes.size(); ++i) {
    if (layout.sizes[i] == 0) return 0;
    if (layout.strides[i] != 0) count *= static_cast<double>(layout.sizes[i]);
  }
  return count;
}

std::size_t innermost_dimension(const TensorLayout& layout) {
  const std::vector<std::size_t> order = order_of_dimensions(layout);
  if (!order.empty()) return order.front();
  return layout.sizes.empty() ? 0 : layout.sizes.size() - 1;
}

bool is_dense(const TensorLayout& layout) {
  std::int64_t expected = 1;
  for (const std::size_t i : order_of_dimensions(layout)) {
    if (layout.strides[i] != expected) return false;
    expected *= layout.sizes[i];
  }
  return true;
}

bool have_same_order(const TensorLayout& left, const TensorLayout& right) {
  return left.sizes == right.sizes && is_dense(left) && is_dense(right) &&
         order_of_dimensions(left) == order_of_dimensions(right);
}

bool is_channels_last(const TensorLayout& layout) {
  const std::size_t rank = layout.sizes.size();
  if (rank < 4 || layout.sizes[1] == 1) return false;
  return layout.strides[1] == 1 && layout.strides[rank - 1] == layout.sizes[1];
}

MathUnit math_unit(protocol::DataType dtype, bool allow_tf32) {
  switch (dtype) {
    case kInt8Type:
      return MathUnit::kInt8;
    case kHalfType:
      return MathUnit::kFp16;
    case kBfloat16Type:
      return MathUnit::kBf16;
    case kDoubleType:
    case kComplexDoubleType:
      return MathUnit::kFp64;
    case kFloatType:
    case kComplexFloatType:
      return allow_tf32 ? MathUnit::kTf32 : MathUnit::kFp32;
    default:
      return protocol::data_type_size_bytes(dtype) == 1 && dtype != kBoolType ? MathUnit::kFp8
                                                                              : MathUnit::kFp32;
  }
}

std::optional<bool> boolean_argument(const protocol::PlanDefinition& plan, std::size_t position) {
  const Argument* argument = argument_of_kind(plan, ArgumentKind::kBoolean, position);
  return argument != nullptr ? std::optional(argument->flag) : std::nullopt;
}

const std::vector<std::int64_t>* integer_list(const protocol::PlanDefinition& plan,
                                              std::size_t position) {
  const Argument* argument = argument_of_kind(plan, ArgumentKind::kIntegerList, position);
  return argument != nullptr ? &argument->integers : nullptr;
}

std::optional<std::int64_t> integer_argument(const protocol::PlanDefinition& plan,
                                             std::size_t position) {
  const Argument* argument = argument_of_kind(plan, ArgumentKind::kInteger, position);
  return argument != nullptr ? std::optional(argument->integer) : std::nullopt;
}

}  // namespace torch_remote::emulator
