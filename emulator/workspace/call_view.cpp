// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/workspace/call_view.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/protocol/plan.h"
#include "core/protocol/tensor_layout.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::Argument;
using protocol::ArgumentKind;
using protocol::Output;
using protocol::OutputKind;
using protocol::TensorLayout;

// Whether the strides are those of a dense tensor whose dimensions lie in that order, the fastest
// first. Dimensions of one element may have any.
bool has_order(const TensorLayout& layout, const std::vector<std::size_t>& fastest_first) {
  std::int64_t expected = 1;
  for (const std::size_t dimension : fastest_first) {
    const std::int64_t size = layout.sizes[dimension];
    if (size != 1 && layout.strides[dimension] != expected) return false;
    expected *= size;
  }
  return true;
}

void add_fresh(const Output& output, std::vector<const TensorLayout*>& result) {
  if (output.kind == OutputKind::kFresh) result.push_back(&output.layout);
  if (output.kind != OutputKind::kList) return;
  for (const Output& element : output.elements) add_fresh(element, result);
}

}  // namespace

std::uint64_t element_count(const TensorLayout& layout) {
  std::uint64_t count = 1;
  for (const std::int64_t size : layout.sizes) count *= static_cast<std::uint64_t>(size);
  return count;
}

std::uint64_t size_bytes(const TensorLayout& layout) {
  return element_count(layout) * protocol::data_type_size_bytes(layout.dtype);
}

bool is_contiguous(const TensorLayout& layout) {
  std::vector<std::size_t> order;
  for (std::size_t i = layout.sizes.size(); i-- > 0;) order.push_back(i);
  return element_count(layout) == 0 || has_order(layout, order);
}

bool is_channels_last(const TensorLayout& layout) {
  const std::size_t rank = layout.sizes.size();
  if (rank != 4 && rank != 5) return false;
  std::vector<std::size_t> order = {1};
  for (std::size_t i = rank; i-- > 2;) order.push_back(i);
  order.push_back(0);
  return has_order(layout, order) && !is_contiguous(layout);
}

std::size_t wrapped_dimension(std::int64_t dimension, const TensorLayout& layout) {
  const auto rank = static_cast<std::int64_t>(layout.sizes.size());
  const std::int64_t wrapped = dimension < 0 ? dimension + rank : dimension;
  return wrapped < 0 || wrapped >= rank ? 0 : static_cast<std::size_t>(wrapped);
}

CallView::CallView(const PlannedOperator& planned) : planned_(&planned) {
  for (const Output& output : planned.plan.outputs) add_fresh(output, outputs_);
}

const Argument* CallView::argument(std::size_t number) const {
  const auto& arguments = planned_->plan.arguments;
  return number < arguments.size() ? &arguments[number] : nullptr;
}

const TensorLayout* CallView::tensor(std::size_t number) const {
  const Argument* value = argument(number);
  return value != nullptr && value->kind == ArgumentKind::kTensor ? &value->layout : nullptr;
}

std::vector<const TensorLayout*> CallView::tensors(std::size_t number) const {
  std::vector<const TensorLayout*> result;
  const Argument* list = argument(number);
  if (list == nullptr || list->kind != ArgumentKind::kTensorList) return result;
  for (const Argument& element : list->elements) {
    if (element.kind == ArgumentKind::kTensor) result.push_back(&element.layout);
  }
  return result;
}

std::vector<std::int64_t> CallView::integers(std::size_t number) const {
  const Argument* value = argument(number);
  if (value == nullptr) return {};
  if (value->kind == ArgumentKind::kInteger) return {value->integer};
  return value->integers;
}

std::int64_t CallView::integer(std::size_t number, std::int64_t otherwise) const {
  const Argument* value = argument(number);
  return value != nullptr && value->kind == ArgumentKind::kInteger ? value->integer : otherwise;
}

bool CallView::boolean(std::size_t number, bool otherwise) const {
  const Argument* value = argument(number);
  return value != nullptr && value->kind == ArgumentKind::kBoolean ? value->flag : otherwise;
}

double CallView::number(std::size_t number, double otherwise) const {
  const Argument* value = argument(number);
  if (value == nullptr) return otherwise;
  if (value->kind == ArgumentKind::kDouble) return value->number.real();
  if (value->kind == ArgumentKind::kInteger) return static_cast<double>(value->integer);
  return otherwise;
}

bool CallView::is_none(std::size_t number) const {
  const Argument* value = argument(number);
  return value == nullptr || value->kind == ArgumentKind::kNone ||
         value->kind == ArgumentKind::kUndefinedTensor;
}

const TensorLayout* CallView::output(std::size_t number) const {
  return number < outputs_.size() ? outputs_[number] : nullptr;
}

const TensorLayout* CallView::result(std::size_t number) const {
  if (!outputs_.empty()) return output(number);
  for (const Argument& value : planned_->plan.arguments) {
    if (value.kind != ArgumentKind::kTensor || value.access != protocol::Access::kWrite) continue;
    if (number-- == 0) return &value.layout;
  }
  return nullptr;
}

std::uint64_t CallView::output_size_bytes(std::size_t number) const {
  const TensorLayout* layout = output(number);
  return layout == nullptr ? 0 : protocol::extent_size_bytes(*layout);
}

}  // namespace torch_remote::emulator::workspace
