// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/decoded_plan.h"

#include <ATen/core/List.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/jit_type.h>
#include <ATen/ops/empty.h>
#include <algorithm>
#include <optional>
#include <utility>

#include "core/executor/executor.h"

namespace torch_remote::executor::libtorch {
namespace {

using c10::IValue;
using c10::TypeKind;
using protocol::Argument;
using protocol::ArgumentKind;
using protocol::ErrorKind;
using Fill = PlannedArgument::Fill;

// Decodes one argument; remembers which, for its errors.
class ArgumentDecoder {
 public:
  ArgumentDecoder(const std::string& operator_name, const c10::Argument& schema,
                  const PlanContext& context)
      : operator_name_(operator_name), schema_(schema), context_(context) {}

  PlannedArgument decode(const Argument& argument) const {
    return decode(argument, *schema_.type());
  }

 private:
  PlannedArgument decode(const Argument& argument, const c10::Type& type) const;
  PlannedArgument decode_none(const c10::Type& type) const;
  PlannedArgument decode_tensor(const Argument& argument) const;
  PlannedArgument decode_sparse_tensor(const Argument& argument) const;
  PlannedArgument decode_host_scalar(const Argument& argument) const;
  PlannedArgument decode_tensor_list(const Argument& argument, const c10::Type& element_type) const;
  PlannedArgument decode_number_list(const Argument& argument, const c10::Type& element_type) const;

  // The type behind an optional; the element's type of a list.
  static const c10::Type& required(const c10::Type& type);
  const c10::Type& element_of(const c10::Type& type) const;
  template <typename... Kinds>
  void expect(const c10::Type& type, Kinds... kinds) const {
    if (((type.kind() != kinds) && ...)) refuse();
  }
  [[noreturn]] void refuse() const {
    throw ExecutorError(ErrorKind::kType, operator_name_ + ": the plan's value for argument " +
                                              schema_.name() + " does not fit its type " +
                                              schema_.type()->str());
  }

  const std::string& operator_name_;
  const c10::Argument& schema_;
  const PlanContext& context_;
};

PlannedArgument fixed(IValue value) {
  PlannedArgument planned;
  planned.fixed = std::move(value);
  return planned;
}

PlannedArgument varying(Fill fill) {
  PlannedArgument planned;
  planned.fill = fill;
  return planned;
}

template <typename Element, typename Source>
IValue list_of(const std::vector<Source>& values) {
  c10::List<Element> list;
  list.reserve(values.size());
  for (const Source value : values) list.push_back(static_cast<Element>(value));
  return list;
}

const c10::Type& ArgumentDecoder::required(const c10::Type& type) {
  const auto* optional = type.castRaw<c10::OptionalType>();
  return optional != nullptr ? *optional->getElementType() : type;
}

const c10::Type& ArgumentDecoder::element_of(const c10::Type& type) const {
  const auto* list = type.castRaw<c10::ListType>();
  if (list == nullptr) refuse();
  return *list->getElementType();
}

PlannedArgument ArgumentDecoder::decode(const Argument& argument, const c10::Type& any_type) const {
  if (argument.kind == ArgumentKind::kNone) return decode_none(any_type);
  const c10::Type& type = required(any_type);
  switch (argument.kind) {
    case ArgumentKind::kTensor:
      expect(type, TypeKind::TensorType);
      return decode_tensor(argument);
    case ArgumentKind::kSparseTensor:
      expect(type, TypeKind::TensorType);
      return decode_sparse_tensor(argument);
    case ArgumentKind::kUndefinedTensor:
      expect(type, TypeKind::TensorType);
      return fixed(at::Tensor());
    case ArgumentKind::kHostScalar:
      expect(type, TypeKind::TensorType);
      return decode_host_scalar(argument);
    case ArgumentKind::kTensorList:
      return decode_tensor_list(argument, element_of(type));
    case ArgumentKind::kNumberList:
      return decode_number_list(argument, element_of(type));
    case ArgumentKind::kInteger:
      expect(type, TypeKind::IntType, TypeKind::SymIntType, TypeKind::NumberType);
      return fixed(argument.integer);
    case ArgumentKind::kVaryingInteger:
      expect(type, TypeKind::IntType, TypeKind::SymIntType, TypeKind::NumberType);
      return varying(Fill::kInteger);
    case ArgumentKind::kBoolean:
      expect(type, TypeKind::BoolType, TypeKind::NumberType);
      return fixed(argument.flag);
    case ArgumentKind::kVaryingBoolean:
      expect(type, TypeKind::BoolType, TypeKind::NumberType);
      return varying(Fill::kBoolean);
    case ArgumentKind::kDouble:
      expect(type, TypeKind::FloatType, TypeKind::NumberType);
      return fixed(argument.number.real());
    case ArgumentKind::kVaryingDouble:
      expect(type, TypeKind::FloatType, TypeKind::NumberType);
      return varying(Fill::kDouble);
    case ArgumentKind::kComplex:
      expect(type, TypeKind::ComplexType, TypeKind::NumberType);
      return fixed(c10::complex<double>(argument.number.real(), argument.number.imag()));
    case ArgumentKind::kVaryingComplex:
      expect(type, TypeKind::ComplexType, TypeKind::NumberType);
      return varying(Fill::kComplex);
    case ArgumentKind::kIntegerList:
      expect(element_of(type), TypeKind::IntType, TypeKind::SymIntType);
      return fixed(list_of<std::int64_t>(argument.integers));
    case ArgumentKind::kDoubleList:
      expect(element_of(type), TypeKind::FloatType);
      return fixed(list_of<double>(argument.doubles));
    case ArgumentKind::kBooleanList:
      expect(element_of(type), TypeKind::BoolType);
      return fixed(list_of<bool>(argument.integers));
    case ArgumentKind::kString:
      expect(type, TypeKind::StringType);
      return fixed(argument.text);
    case ArgumentKind::kDevice:
      expect(type, TypeKind::DeviceObjType);
      return fixed(argument.flag ? c10::Device(c10::kCPU) : context_.device);
    case ArgumentKind::kGenerator:
      expect(type, TypeKind::GeneratorType);
      return varying(Fill::kGenerator);
    default:
      refuse();
  }
}

PlannedArgument ArgumentDecoder::decode_none(const c10::Type& type) const {
  expect(type, TypeKind::OptionalType);
  // PyTorch would take the process' generator.
  if (required(type).kind() == TypeKind::GeneratorType) return fixed(context_.default_generator);
  return fixed(IValue());
}

PlannedArgument ArgumentDecoder::decode_tensor(const Argument& argument) const {
  PlannedArgument planned = varying(Fill::kTensor);
  planned.offset_size_bytes = argument.offset_size_bytes;
  planned.tensor = PlannedTensor(argument.layout);
  planned.may_be_resized =
      schema_.kwarg_only() && schema_.alias_info() != nullptr && schema_.alias_info()->isWrite();
  return planned;
}

PlannedArgument ArgumentDecoder::decode_sparse_tensor(const Argument& argument) const {
  PlannedArgument planned = varying(Fill::kSparseTensor);
  planned.sparse = argument.sparse;
  for (const Argument& component : argument.elements) {
    planned.elements.push_back(decode_tensor(component));
    planned.elements.back().may_be_resized = false;  // its new components are described
    planned.is_written |= component.access == protocol::Access::kWrite;
  }
  return planned;
}

PlannedArgument ArgumentDecoder::decode_host_scalar(const Argument& argument) const {
  PlannedArgument planned = varying(Fill::kHostScalar);
  const auto dtype = static_cast<c10::ScalarType>(argument.layout.dtype);
  planned.host_scalar = at::empty({}, at::TensorOptions(dtype));
  planned.host_scalar.unsafeGetTensorImpl()->set_wrapped_number(argument.flag);
  return planned;
}

PlannedArgument ArgumentDecoder::decode_tensor_list(const Argument& argument,
                                                    const c10::Type& element_type) const {
  expect(required(element_type), TypeKind::TensorType);
  const bool is_optional = element_type.kind() == TypeKind::OptionalType;
  PlannedArgument planned = varying(is_optional ? Fill::kOptionalTensorList : Fill::kTensorList);
  planned.elements.reserve(argument.elements.size());
  for (const Argument& element : argument.elements)
    planned.elements.push_back(decode(element, element_type));
  return planned;
}

PlannedArgument ArgumentDecoder::decode_number_list(const Argument& argument,
                                                    const c10::Type& element_type) const {
  PlannedArgument planned = varying(Fill::kNumberList);
  switch (element_type.kind()) {
    case TypeKind::NumberType:
      planned.fixed = c10::List<at::Scalar>();
      break;
    case TypeKind::FloatType:
      planned.fixed = c10::List<double>();
      break;
    case TypeKind::BoolType:
      planned.fixed = c10::List<bool>();
      break;
    case TypeKind::IntType:
    case TypeKind::SymIntType:
      planned.fixed = c10::List<std::int64_t>();
      break;
    default:
      refuse();
  }
  planned.elements.reserve(argument.elements.size());
  for (const Argument& element : argument.elements)
    planned.elements.push_back(decode(element, element_type));
  return planned;
}

PlannedOutput decode_output(const protocol::Output& output, const PlanContext& context, int depth) {
  PlannedOutput planned;
  planned.kind = output.kind;
  if (output.kind == protocol::OutputKind::kFresh) {
    planned.tensor = PlannedTensor(output.layout);
    if (planned.tensor.extent_size_bytes > context.storage_size_bytes_max) {
      throw ExecutorError(ErrorKind::kValue, "an output is larger than the executor's limit");
    }
  }
  if (depth == 0) {
    for (const auto& element : output.elements)
      planned.elements.push_back(decode_output(element, context, 1));
  }
  return planned;
}

[[noreturn]] void throw_other_count(const std::string& name, const char* what, std::size_t planned,
                                    std::size_t wanted) {
  throw ExecutorError(ErrorKind::kType, name + ": the plan has " + std::to_string(planned) + " " +
                                            what + ", the operator " + std::to_string(wanted));
}

}  // namespace

DecodedPlan decode_plan(const protocol::PlanDefinition& definition,
                        const RunnableOperator& runnable, const PlanContext& context) {
  DecodedPlan plan(runnable);
  const c10::FunctionSchema& schema = runnable.named.schema();
  if (definition.arguments.size() != schema.arguments().size()) {
    throw_other_count(plan.operator_name, "arguments", definition.arguments.size(),
                      schema.arguments().size());
  }
  if (!definition.describes_outputs && definition.outputs.size() != schema.returns().size()) {
    throw_other_count(plan.operator_name, "results", definition.outputs.size(),
                      schema.returns().size());
  }
  plan.describes_outputs = definition.describes_outputs;
  plan.values_size_bytes = protocol::call_shape(definition).values_size_bytes;
  plan.arguments.reserve(definition.arguments.size() + 1);
  for (std::size_t i = 0; i < definition.arguments.size(); ++i) {
    const ArgumentDecoder decoder(plan.operator_name, schema.arguments()[i], context);
    plan.arguments.push_back(decoder.decode(definition.arguments[i]));
    const auto is_resizable = [](const PlannedArgument& argument) {
      return argument.may_be_resized;
    };
    plan.has_resizable_arguments |=
        is_resizable(plan.arguments.back()) ||
        std::ranges::any_of(plan.arguments.back().elements, is_resizable);
  }
  if (const auto position = runnable.inserted_generator_position) {
    plan.arguments.insert(plan.arguments.begin() + static_cast<std::ptrdiff_t>(*position),
                          fixed(context.default_generator));
  }
  plan.outputs.reserve(definition.outputs.size());
  for (const auto& output : definition.outputs)
    plan.outputs.push_back(decode_output(output, context, 0));
  return plan;
}

}  // namespace torch_remote::executor::libtorch
