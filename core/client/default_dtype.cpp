// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/default_dtype.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/to.h>
#include <algorithm>
#include <array>
#include <c10/core/DefaultDtype.h>
#include <c10/core/ScalarType.h>
#include <c10/core/TensorImpl.h>
#include <c10/util/ArrayRef.h>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/client/inference.h"

namespace torch_remote::client {
namespace {

using Arguments = c10::ArrayRef<c10::IValue>;

// Integers that no operator computes with.
constexpr std::array<std::string_view, 4> kNeverConverted = {"condition", "mask", "index",
                                                             "indices"};

c10::ScalarType default_dtype() { return c10::get_default_dtype_as_scalartype(); }

bool is_defined_tensor(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined();
}

// Floating-point and complex tensors decide by themselves; Python's numbers do not.
bool decides(const c10::IValue& value) {
  if (!is_defined_tensor(value)) return false;
  const at::Tensor& tensor = value.toTensor();
  return !c10::isIntegralType(tensor.scalar_type(), /*includeBool=*/true) &&
         !tensor.unsafeGetTensorImpl()->is_wrapped_number();
}

// What an operator writes without reading it.
bool is_out(const OperatorRecord& record, std::size_t argument) {
  return record.arguments()[argument].written &&
         record.handle().schema().arguments()[argument].kwarg_only();
}

// The position of the argument `dtype`.
std::optional<std::size_t> find_dtype(const OperatorRecord& record) {
  const auto& schema = record.handle().schema().arguments();
  for (std::size_t i = 0; i < schema.size(); ++i) {
    if (schema[i].name() == "dtype") return i;
  }
  return std::nullopt;
}

bool gives_default_dtype(const ClientPlan& plan) {
  return std::ranges::any_of(plan.tensors, [](const PlannedTensor& tensor) {
    return tensor.dtype == default_dtype() || tensor.dtype == c10::toComplexType(default_dtype());
  });
}

bool has_floating_point_out(const OperatorRecord& record, Arguments arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (is_out(record, i) && decides(arguments[i])) return true;
  }
  return false;
}

void convert_integers(const OperatorRecord& record, torch::jit::Stack& stack, std::size_t first) {
  for (std::size_t i = 0; i < record.arguments().size(); ++i) {
    const c10::IValue& value = stack[first + i];
    const std::string& name = record.handle().schema().arguments()[i].name();
    const bool is_number =
        is_defined_tensor(value) && !record.arguments()[i].written &&
        std::ranges::find(kNeverConverted, name) == kNeverConverted.end() &&
        c10::isIntegralType(value.toTensor().scalar_type(), /*includeBool=*/true);
    if (is_number) stack[first + i] = value.toTensor().to(default_dtype());
  }
}

}  // namespace

bool has_other_default_dtype() { return default_dtype() != c10::ScalarType::Float; }

void say_default_dtype(const OperatorRecord& record, torch::jit::Stack& stack) {
  const std::size_t first = stack.size() - record.arguments().size();
  const Arguments arguments(stack.data() + first, record.arguments().size());
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (decides(arguments[i]) && !is_out(record, i)) return;
  }
  const auto dtype = find_dtype(record);
  if (dtype && !arguments[*dtype].isNone()) return;
  if (record.is_view() || record.describes_outputs() || record.functional() != nullptr) return;
  if (std::ranges::none_of(arguments, is_defined_tensor)) {
    if (!dtype) return;
    const std::shared_ptr<const ClientPlan> plan = infer_plan(record, arguments);
    if (plan->tensors.empty()) return;
    stack[first + *dtype] = static_cast<std::int64_t>(plan->tensors.front().dtype);
    return;
  }
  const bool converts = record.makes_something()
                            ? gives_default_dtype(*infer_plan(record, arguments))
                            : has_floating_point_out(record, arguments);
  if (converts) convert_integers(record, stack, first);
}

}  // namespace torch_remote::client
