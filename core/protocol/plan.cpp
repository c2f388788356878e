// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/protocol/plan.h"

#include <cstddef>

namespace torch_remote::protocol {
namespace {

bool is_number(ArgumentKind kind) {
  return kind >= ArgumentKind::kInteger && kind <= ArgumentKind::kVaryingComplex;
}

bool is_tensor_or_missing(ArgumentKind kind) {
  return kind == ArgumentKind::kTensor || kind == ArgumentKind::kUndefinedTensor ||
         kind == ArgumentKind::kHostScalar || kind == ArgumentKind::kNone ||
         kind == ArgumentKind::kSparseTensor;
}

template <WireNumber Element, typename Value>
void put_list(ByteWriter& writer, const std::vector<Value>& values) {
  writer.put(static_cast<std::uint32_t>(values.size()));
  for (const Value value : values) writer.put(static_cast<Element>(value));
}

template <WireNumber Element, typename Value>
void get_list(ByteReader& reader, std::vector<Value>& values) {
  const auto count = reader.get_count<std::uint32_t>(sizeof(Element), kListElementsMax, "list");
  values.reserve(count);
  for (std::size_t i = 0; i < count; ++i)
    values.push_back(static_cast<Value>(reader.get<Element>()));
}

DataType get_data_type(ByteReader& reader) {
  const auto dtype = reader.get<DataType>();
  if (data_type_size_bytes(dtype) == 0)
    throw ProtocolError("unknown dtype " + std::to_string(dtype));
  return dtype;
}

// An element takes a byte on the wire and some hundred in memory, so that all lists of a plan share
// one bound; elements_left is what is left of it.
Argument get_argument(ByteReader& reader, std::size_t& elements_left, bool nested);

void get_elements(ByteReader& reader, std::size_t& elements_left, Argument& argument,
                  bool (*allowed)(ArgumentKind)) {
  const auto count = reader.get_count<std::uint32_t>(1, elements_left, "list argument");
  elements_left -= count;
  argument.elements.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    argument.elements.push_back(get_argument(reader, elements_left, /*nested=*/true));
    if (!allowed(argument.elements.back().kind))
      throw ProtocolError("list element of a wrong kind");
  }
}

void get_tensor(ByteReader& reader, Argument& argument) {
  argument.access = reader.get<Access>();
  if (argument.access != Access::kRead && argument.access != Access::kWrite) {
    throw ProtocolError("unknown access");
  }
  argument.offset_size_bytes = reader.get<std::uint8_t>();
  if (argument.offset_size_bytes != 0 && argument.offset_size_bytes != 4 &&
      argument.offset_size_bytes != 8) {
    throw ProtocolError("an offset has 0, 4 or 8 bytes");
  }
  argument.layout = get_layout(reader);
}

void get_sparse_tensor(ByteReader& reader, std::size_t& elements_left, Argument& argument) {
  argument.sparse = get_sparse_layout(reader);
  const std::size_t count = component_count(argument.sparse.kind);
  if (count > elements_left) throw ProtocolError("too many components of sparse tensors");
  elements_left -= count;
  argument.elements.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    Argument& component = argument.elements.emplace_back();
    component.kind = reader.get<ArgumentKind>();
    if (component.kind != ArgumentKind::kTensor)
      throw ProtocolError("a component of a sparse tensor is no tensor");
    get_tensor(reader, component);
  }
}

Argument get_argument(ByteReader& reader, std::size_t& elements_left, bool nested) {
  Argument argument;
  argument.kind = reader.get<ArgumentKind>();
  const bool is_list =
      argument.kind == ArgumentKind::kTensorList || argument.kind == ArgumentKind::kNumberList;
  if (nested && is_list) throw ProtocolError("a list within a list");
  switch (argument.kind) {
    case ArgumentKind::kNone:
    case ArgumentKind::kUndefinedTensor:
    case ArgumentKind::kVaryingInteger:
    case ArgumentKind::kVaryingBoolean:
    case ArgumentKind::kVaryingDouble:
    case ArgumentKind::kVaryingComplex:
    case ArgumentKind::kGenerator:
      break;
    case ArgumentKind::kTensor:
      get_tensor(reader, argument);
      break;
    case ArgumentKind::kSparseTensor:
      get_sparse_tensor(reader, elements_left, argument);
      break;
    case ArgumentKind::kTensorList:
      get_elements(reader, elements_left, argument, &is_tensor_or_missing);
      break;
    case ArgumentKind::kNumberList:
      get_elements(reader, elements_left, argument, &is_number);
      break;
    case ArgumentKind::kHostScalar:
      argument.layout.dtype = get_data_type(reader);
      argument.flag = reader.get<std::uint8_t>() != 0;
      break;
    case ArgumentKind::kInteger:
      argument.integer = reader.get<std::int64_t>();
      break;
    case ArgumentKind::kBoolean:
    case ArgumentKind::kDevice:
      argument.flag = reader.get<std::uint8_t>() != 0;
      break;
    case ArgumentKind::kDouble:
      argument.number = reader.get<double>();
      break;
    case ArgumentKind::kComplex: {
      const auto real = reader.get<double>();
      argument.number = {real, reader.get<double>()};
      break;
    }
    case ArgumentKind::kIntegerList:
      get_list<std::int64_t>(reader, argument.integers);
      break;
    case ArgumentKind::kBooleanList:
      get_list<std::uint8_t>(reader, argument.integers);
      break;
    case ArgumentKind::kDoubleList:
      get_list<double>(reader, argument.doubles);
      break;
    case ArgumentKind::kString:
      argument.text = reader.get_string(kHelloSizeBytesMax);
      break;
    default:
      throw ProtocolError("unknown argument kind " +
                          std::to_string(static_cast<int>(argument.kind)));
  }
  return argument;
}

Output get_output(ByteReader& reader, std::size_t& elements_left, bool nested) {
  Output output;
  output.kind = reader.get<OutputKind>();
  switch (output.kind) {
    case OutputKind::kArgument:
      if (nested) throw ProtocolError("an argument within a list of outputs");
      break;
    case OutputKind::kUndefined:
      break;
    case OutputKind::kFresh:
      output.layout = get_layout(reader);
      break;
    case OutputKind::kList: {
      if (nested) throw ProtocolError("a list within a list");
      const auto count = reader.get_count<std::uint32_t>(1, elements_left, "output list");
      elements_left -= count;
      output.elements.reserve(count);
      for (std::size_t i = 0; i < count; ++i)
        output.elements.push_back(get_output(reader, elements_left, /*nested=*/true));
      break;
    }
    default:
      throw ProtocolError("unknown output kind " + std::to_string(static_cast<int>(output.kind)));
  }
  return output;
}

void add_argument(CallShape& shape, const Argument& argument) {
  switch (argument.kind) {
    case ArgumentKind::kTensor:
      (argument.access == Access::kWrite ? shape.written_id_positions : shape.read_id_positions)
          .push_back(shape.values_size_bytes);
      shape.values_size_bytes += 8u + argument.offset_size_bytes;
      break;
    case ArgumentKind::kHostScalar:
      shape.values_size_bytes += host_scalar_size_bytes(argument.layout.dtype);
      break;
    case ArgumentKind::kVaryingInteger:
    case ArgumentKind::kVaryingBoolean:
    case ArgumentKind::kVaryingDouble:
    case ArgumentKind::kGenerator:
      shape.values_size_bytes += 8;
      break;
    case ArgumentKind::kVaryingComplex:
      shape.values_size_bytes += 16;
      break;
    default:
      for (const Argument& element : argument.elements) add_argument(shape, element);
  }
}

void add_output(CallShape& shape, const Output& output) {
  if (output.kind == OutputKind::kFresh) {
    shape.output_id_positions.push_back(shape.values_size_bytes);
    shape.values_size_bytes += 8;
  }
  for (const Output& element : output.elements) add_output(shape, element);
}

}  // namespace

CallShape call_shape(const PlanDefinition& definition) {
  CallShape shape;
  for (const Argument& argument : definition.arguments) add_argument(shape, argument);
  for (const Output& output : definition.outputs) add_output(shape, output);
  return shape;
}

void put_argument(ByteWriter& writer, const Argument& argument) {
  writer.put(argument.kind);
  switch (argument.kind) {
    case ArgumentKind::kTensor: {
      const TensorLayout& layout = argument.layout;
      writer.put(argument.access);
      writer.put(argument.offset_size_bytes);
      put_layout(writer, layout.dtype, layout.flags, layout.sizes, layout.strides);
      break;
    }
    case ArgumentKind::kSparseTensor:
      put_sparse_layout(writer, argument.sparse);
      for (const Argument& component : argument.elements) put_argument(writer, component);
      break;
    case ArgumentKind::kTensorList:
    case ArgumentKind::kNumberList:
      writer.put(static_cast<std::uint32_t>(argument.elements.size()));
      for (const Argument& element : argument.elements) put_argument(writer, element);
      break;
    case ArgumentKind::kHostScalar:
      writer.put(argument.layout.dtype);
      writer.put(static_cast<std::uint8_t>(argument.flag));
      break;
    case ArgumentKind::kInteger:
      writer.put(argument.integer);
      break;
    case ArgumentKind::kBoolean:
    case ArgumentKind::kDevice:
      writer.put(static_cast<std::uint8_t>(argument.flag));
      break;
    case ArgumentKind::kDouble:
      writer.put(argument.number.real());
      break;
    case ArgumentKind::kComplex:
      writer.put(argument.number.real());
      writer.put(argument.number.imag());
      break;
    case ArgumentKind::kIntegerList:
      put_list<std::int64_t>(writer, argument.integers);
      break;
    case ArgumentKind::kBooleanList:
      put_list<std::uint8_t>(writer, argument.integers);
      break;
    case ArgumentKind::kDoubleList:
      put_list<double>(writer, argument.doubles);
      break;
    case ArgumentKind::kString:
      writer.put_string(argument.text);
      break;
    default:
      break;  // the kind says it all
  }
}

void put_output(ByteWriter& writer, const Output& output) {
  writer.put(output.kind);
  if (output.kind == OutputKind::kFresh) {
    const TensorLayout& layout = output.layout;
    put_layout(writer, layout.dtype, layout.flags, layout.sizes, layout.strides);
  } else if (output.kind == OutputKind::kList) {
    writer.put(static_cast<std::uint32_t>(output.elements.size()));
    for (const Output& element : output.elements) put_output(writer, element);
  }
}

void put_plan(ByteWriter& writer, const PlanDefinition& definition) {
  writer.put(definition.plan);
  writer.put(definition.operator_number);
  writer.put(static_cast<std::uint8_t>(definition.describes_outputs));
  writer.put(static_cast<std::uint16_t>(definition.arguments.size()));
  for (const Argument& argument : definition.arguments) put_argument(writer, argument);
  writer.put(static_cast<std::uint16_t>(definition.outputs.size()));
  for (const Output& output : definition.outputs) put_output(writer, output);
}

PlanDefinition get_plan(ByteReader& reader) {
  PlanDefinition definition;
  definition.plan = reader.get<std::uint32_t>();
  definition.operator_number = reader.get<std::uint32_t>();
  definition.describes_outputs = reader.get<std::uint8_t>() != 0;
  const auto arguments = reader.get_count<std::uint16_t>(1, kArgumentsMax, "arguments");
  definition.arguments.reserve(arguments);
  std::size_t elements_left = kListElementsMax;
  for (std::size_t i = 0; i < arguments; ++i)
    definition.arguments.push_back(get_argument(reader, elements_left, /*nested=*/false));
  const auto outputs = reader.get_count<std::uint16_t>(1, kArgumentsMax, "outputs");
  definition.outputs.reserve(outputs);
  for (std::size_t i = 0; i < outputs; ++i)
    definition.outputs.push_back(get_output(reader, elements_left, /*nested=*/false));
  if (definition.describes_outputs && outputs != 0) {
    throw ProtocolError("a plan that describes its outputs lists none");
  }
  return definition;
}

}  // namespace torch_remote::protocol
