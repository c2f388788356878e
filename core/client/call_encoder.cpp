// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/call_encoder.h"

#include <ATen/core/Generator.h>
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <algorithm>
#include <array>
#include <bit>
#include <c10/util/Exception.h>
#include <cstring>
#include <limits>
#include <string>

#include "core/client/device.h"
#include "core/client/generator.h"
#include "core/client/sparse_tensors.h"
#include "core/client/storage.h"
#include "core/protocol/plan.h"

namespace torch_remote::client {
namespace {

using protocol::ArgumentKind;

// Both passes over a call, encoding and defining, classify a tensor by this one function.
ArgumentKind kind_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return ArgumentKind::kUndefinedTensor;
  return tensor.device().type() == c10::DeviceType::PrivateUse1 ? ArgumentKind::kTensor
                                                                : ArgumentKind::kHostScalar;
}

std::uint8_t offset_size_bytes(std::int64_t offset) {
  if (offset == 0) return 0;
  return offset <= std::numeric_limits<std::int32_t>::max() ? 4 : 8;
}

std::uint8_t flags_of(const at::Tensor& tensor) {
  return static_cast<std::uint8_t>((tensor.is_conj() ? protocol::kConjugateFlag : 0) |
                                   (tensor.is_neg() ? protocol::kNegativeFlag : 0));
}

bool has_uint64(c10::ArrayRef<c10::IValue> arguments) {
  return std::ranges::any_of(arguments, [](const c10::IValue& argument) {
    return argument.isTensor() && argument.toTensor().defined() &&
           argument.toTensor().scalar_type() == c10::ScalarType::UInt64;
  });
}

// Scalars that are numbers in the call, by the tag of their value. Those beyond int64 are the same
// 64 bits where the kernel takes them for unsigned again, and doubles elsewhere.
ArgumentKind varying_kind(const c10::IValue& value, c10::ArrayRef<c10::IValue> arguments) {
  if (value.isDouble()) return ArgumentKind::kVaryingDouble;
  if (value.isInt()) return ArgumentKind::kVaryingInteger;
  if (value.isBool()) return ArgumentKind::kVaryingBoolean;
  if (!value.isUnsigned()) return ArgumentKind::kVaryingComplex;
  return has_uint64(arguments) ? ArgumentKind::kVaryingInteger : ArgumentKind::kVaryingDouble;
}

class Encoder {
 public:
  Encoder(const OperatorRecord& record, c10::ArrayRef<c10::IValue> arguments, EncodedCall& call)
      : record_(record), arguments_(arguments), call_(call) {}

  void argument(std::size_t index, const c10::IValue& value) {
    index_ = index;
    const ArgumentTraits& traits = record_.arguments()[index];
    if (value.isTensor()) return tensor(value.toTensor(), traits);
    if (value.isNone()) return word(ArgumentKind::kNone, 0);
    switch (traits.argument_class) {
      case ArgumentClass::kNumber:
        return traits.number_is_fixed ? fixed(value) : number(value);
      case ArgumentClass::kNumberList:
        return number_list(value);
      case ArgumentClass::kTensorList:
        return tensor_list(value, traits);
      case ArgumentClass::kFixed:
        return fixed(value);
      case ArgumentClass::kDevice:
        return device(value.toDevice());
      case ArgumentClass::kGenerator:
        return generator(value.toGenerator());
      default:
        refuse("is of a type that can't travel to an executor");
    }
  }

 private:
  void word(ArgumentKind kind, std::uint64_t detail) {
    call_.key.push_back(static_cast<std::uint64_t>(kind) | detail << 8);
  }

  void list_word(ArgumentKind kind, std::size_t count) {
    if (count > protocol::kListElementsMax) refuse("has more elements than can travel");
    word(kind, count);
  }

  void tensor(const at::Tensor& tensor, const ArgumentTraits& traits) {
    switch (kind_of(tensor)) {
      case ArgumentKind::kUndefinedTensor:
        return word(ArgumentKind::kUndefinedTensor, 0);
      case ArgumentKind::kTensor:
        return remote_tensor(tensor);
      default:
        return host_scalar(tensor, traits);
    }
  }

  void remote_tensor(const at::Tensor& tensor) {
    const c10::TensorImpl& impl = *tensor.unsafeGetTensorImpl();
    if (!impl.has_storage()) [[unlikely]]
      return sparse_tensor(tensor);
    const auto dtype = static_cast<protocol::DataType>(tensor.scalar_type());
    if (protocol::data_type_size_bytes(dtype) == 0) [[unlikely]]
      refuse("has a dtype that can't travel");
    if (impl.dim() > static_cast<std::int64_t>(protocol::kDimensionsMax)) [[unlikely]]
      refuse("has more dimensions than can travel (64)");
    const int index = impl.device().index();
    if (call_.device_index != index) [[unlikely]] {
      if (call_.device_index >= 0) mixed_devices(tensor);
      call_.device_index = index;
    }
    const std::int64_t offset = impl.storage_offset();
    const auto sizes = impl.sizes();
    const auto strides = impl.strides();
    const std::uint8_t offset_size = offset_size_bytes(offset);
    word(ArgumentKind::kTensor, std::uint64_t{sizes.size()} | std::uint64_t{offset_size} << 8 |
                                    std::uint64_t{flags_of(tensor)} << 16 |
                                    static_cast<std::uint64_t>(tensor.scalar_type()) << 24);
    call_.key.append(sizes.begin(), sizes.end());
    call_.key.append(strides.begin(), strides.end());
    call_.append(id_of(impl.unsafe_storage()));
    if (offset_size == 4) call_.append(static_cast<std::uint32_t>(offset));
    if (offset_size == 8) call_.append(offset);
  }

  void sparse_tensor(const at::Tensor& tensor) {
    if (!is_sparse(tensor)) refuse("is of a layout that can't travel to an executor");
    const protocol::SparseLayout layout = sparse_layout_of(tensor);
    if (layout.sizes.size() > protocol::kDimensionsMax)
      refuse("has more dimensions than can travel (64)");
    word(ArgumentKind::kSparseTensor, static_cast<std::uint64_t>(layout.kind) |
                                          std::uint64_t{layout.is_coalesced} << 8 |
                                          std::uint64_t{layout.sparse_dimensions} << 16 |
                                          std::uint64_t{layout.sizes.size()} << 24);
    call_.key.append(layout.sizes.begin(), layout.sizes.end());
    for (const at::Tensor& component : components_of(tensor)) remote_tensor(component);
    call_.has_sparse_arguments = true;
  }

  void host_scalar(const at::Tensor& tensor, const ArgumentTraits& traits) {
    if (!tensor.device().is_cpu() || tensor.dim() != 0 || traits.written) mixed_devices(tensor);
    const auto dtype = static_cast<protocol::DataType>(tensor.scalar_type());
    const bool wrapped = tensor.unsafeGetTensorImpl()->is_wrapped_number();
    word(ArgumentKind::kHostScalar, std::uint64_t{dtype} | std::uint64_t{wrapped} << 8);
    if (protocol::data_type_size_bytes(dtype) == 0) refuse("has a dtype that can't travel");
    std::array<std::byte, 16> bytes{};
    const at::Tensor plain =
        tensor.is_conj() || tensor.is_neg() ? tensor.resolve_conj().resolve_neg() : tensor;
    std::memcpy(bytes.data(), plain.const_data_ptr(), plain.element_size());
    call_.values.append(bytes.data(), bytes.data() + protocol::host_scalar_size_bytes(dtype));
  }

  void number(const c10::IValue& value) {
    const ArgumentKind kind = varying_kind(value, arguments_);
    word(kind, 0);
    switch (kind) {
      case ArgumentKind::kVaryingDouble:
        return call_.append(value.isUnsigned() ? static_cast<double>(value.toUInt())
                                               : value.toDouble());
      case ArgumentKind::kVaryingInteger:
        return call_.append(value.isUnsigned() ? static_cast<std::int64_t>(value.toUInt())
                                               : value.toInt());
      case ArgumentKind::kVaryingBoolean:
        return call_.append(std::uint64_t{value.toBool()});
      default:
        return call_.append(value.toComplexDouble());
    }
  }

  void number_list(const c10::IValue& value) {
    if (value.isDoubleList()) {
      const auto& list = value.toDoubleList();
      list_word(ArgumentKind::kNumberList, list.size());
      for (const double element : list) number(c10::IValue(element));
      return;
    }
    const auto list = value.toListRef();
    list_word(ArgumentKind::kNumberList, list.size());
    for (const c10::IValue& element : list) number(element);
  }

  void tensor_list(const c10::IValue& value, const ArgumentTraits& traits) {
    const auto list = value.toListRef();
    list_word(ArgumentKind::kTensorList, list.size());
    for (const c10::IValue& element : list) {
      if (element.isNone()) {
        word(ArgumentKind::kNone, 0);
      } else {
        tensor(element.toTensor(), traits);
      }
    }
  }

  void fixed(const c10::IValue& value) {
    if (value.isInt()) {
      word(ArgumentKind::kInteger, 0);
      call_.key.push_back(static_cast<std::uint64_t>(value.toInt()));
    } else if (value.isBool()) {
      word(ArgumentKind::kBoolean, value.toBool());
    } else if (value.isIntList()) {
      const auto& list = value.toIntList();
      list_word(ArgumentKind::kIntegerList, list.size());
      for (const std::int64_t element : list)
        call_.key.push_back(static_cast<std::uint64_t>(element));
    } else if (value.isBoolList()) {
      const auto& list = value.toBoolList();
      list_word(ArgumentKind::kBooleanList, list.size());
      for (const bool element : list) call_.key.push_back(element);
    } else if (value.isDouble()) {
      word(ArgumentKind::kDouble, 0);
      call_.key.push_back(std::bit_cast<std::uint64_t>(value.toDouble()));
    } else if (value.isComplexDouble()) {
      word(ArgumentKind::kComplex, 0);
      call_.key.push_back(std::bit_cast<std::uint64_t>(value.toComplexDouble().real()));
      call_.key.push_back(std::bit_cast<std::uint64_t>(value.toComplexDouble().imag()));
    } else if (value.isString()) {
      text(value.toStringRef());
    } else if (value.isList()) {
      integers_of_list(value);
    } else {
      refuse("is of a type that can't travel to an executor");
    }
  }

  // An empty list without a type, or one of SymInts that are plain integers.
  void integers_of_list(const c10::IValue& value) {
    const auto list = value.toListRef();
    list_word(ArgumentKind::kIntegerList, list.size());
    for (const c10::IValue& element : list)
      call_.key.push_back(static_cast<std::uint64_t>(element.toInt()));
  }

  void text(const std::string& value) {
    if (value.size() > protocol::kHelloSizeBytesMax) refuse("is a longer text than can travel");
    word(ArgumentKind::kString, value.size());
    for (std::size_t i = 0; i < value.size(); i += sizeof(std::uint64_t)) {
      std::uint64_t part = 0;
      std::memcpy(&part, value.data() + i, std::min(sizeof(part), value.size() - i));
      call_.key.push_back(part);
    }
  }

  void device(const c10::Device& device) {
    const bool is_remote = device.type() == c10::DeviceType::PrivateUse1;
    TORCH_CHECK(is_remote || device.is_cpu(), record_.full_name(), ": an executor can't make a ",
                device, " tensor; use .to(\"", device, "\") on the result");
    word(ArgumentKind::kDevice, !is_remote);
    if (is_remote && call_.device_index < 0) call_.device_index = device_of(device).index();
  }

  void generator(const at::Generator& generator) {
    word(ArgumentKind::kGenerator, 0);
    call_.append(generator_number(generator, record_.full_name()));
    if (call_.device_index < 0) call_.device_index = generator.device().index();
    // Its number would mean another generator over there.
    TORCH_CHECK(generator.device().index() == call_.device_index, record_.full_name(),
                ": expected a generator of remote:", call_.device_index, " but found one of ",
                generator.device());
  }

  [[noreturn]] void refuse(const char* why) const {
    TORCH_CHECK(false, record_.full_name(), ": argument ", argument_name(), " ", why);
  }

  [[noreturn]] void mixed_devices(const at::Tensor& tensor) const {
    TORCH_CHECK(false,
                "Expected all tensors to be on the same device, but found at least two devices, ",
                remote_device(), " and ", tensor.device(), "! (when checking argument ",
                argument_name(), " of ", record_.full_name(), "; move it with .to(device))");
  }

  // One that the call has named so far, or will name.
  std::string remote_device() const {
    if (call_.device_index >= 0) return "remote:" + std::to_string(call_.device_index);
    const auto is_remote = [](const c10::IValue& value) {
      return value.isTensor() && value.toTensor().defined() &&
             value.toTensor().device().type() == c10::DeviceType::PrivateUse1;
    };
    for (const c10::IValue& argument : arguments_) {
      if (is_remote(argument)) return argument.toTensor().device().str();
      if (!argument.isList() || argument.isIntList() || argument.isDoubleList() ||
          argument.isBoolList())
        continue;
      for (const c10::IValue& element : argument.toListRef()) {
        if (is_remote(element)) return element.toTensor().device().str();
      }
    }
    return "remote";
  }

  const std::string& argument_name() const {
    return record_.handle().schema().arguments()[index_].name();
  }

  const OperatorRecord& record_;
  c10::ArrayRef<c10::IValue> arguments_;
  EncodedCall& call_;
  std::size_t index_ = 0;
};

class Definer {
 public:
  Definer(c10::ArrayRef<c10::IValue> arguments, protocol::ByteWriter& writer)
      : arguments_(arguments), writer_(writer) {}

  void argument(const c10::IValue& value, const ArgumentTraits& traits) {
    if (value.isTensor()) return tensor(value.toTensor(), traits);
    if (value.isNone()) return writer_.put(ArgumentKind::kNone);
    switch (traits.argument_class) {
      case ArgumentClass::kNumber:
        return traits.number_is_fixed ? fixed(value) : writer_.put(varying_kind(value, arguments_));
      case ArgumentClass::kNumberList:
        return number_list(value);
      case ArgumentClass::kTensorList:
        return tensor_list(value, traits);
      case ArgumentClass::kDevice:
        writer_.put(ArgumentKind::kDevice);
        return writer_.put(
            static_cast<std::uint8_t>(value.toDevice().type() != c10::DeviceType::PrivateUse1));
      case ArgumentClass::kGenerator:
        return writer_.put(ArgumentKind::kGenerator);
      default:
        return fixed(value);
    }
  }

 private:
  void tensor(const at::Tensor& tensor, const ArgumentTraits& traits) {
    const ArgumentKind kind = kind_of(tensor);
    if (kind == ArgumentKind::kTensor && is_sparse(tensor)) return sparse_tensor(tensor, traits);
    writer_.put(kind);
    if (kind == ArgumentKind::kUndefinedTensor) return;
    const auto dtype = static_cast<protocol::DataType>(tensor.scalar_type());
    if (kind == ArgumentKind::kHostScalar) {
      writer_.put(dtype);
      return writer_.put(
          static_cast<std::uint8_t>(tensor.unsafeGetTensorImpl()->is_wrapped_number()));
    }
    writer_.put(traits.written ? protocol::Access::kWrite : protocol::Access::kRead);
    writer_.put(offset_size_bytes(tensor.storage_offset()));
    put_layout(writer_, dtype, flags_of(tensor), {tensor.sizes().data(), tensor.sizes().size()},
               {tensor.strides().data(), tensor.strides().size()});
  }

  void sparse_tensor(const at::Tensor& sparse, const ArgumentTraits& traits) {
    writer_.put(ArgumentKind::kSparseTensor);
    put_sparse_layout(writer_, sparse_layout_of(sparse));
    for (const at::Tensor& component : components_of(sparse)) tensor(component, traits);
  }

  template <typename Size>
  void list(ArgumentKind kind, Size size) {
    writer_.put(kind);
    writer_.put(static_cast<std::uint32_t>(size));
  }

  void number_list(const c10::IValue& value) {
    if (value.isDoubleList()) {
      list(ArgumentKind::kNumberList, value.toDoubleList().size());
      for (std::size_t i = 0; i < value.toDoubleList().size(); ++i)
        writer_.put(ArgumentKind::kVaryingDouble);
      return;
    }
    list(ArgumentKind::kNumberList, value.toListRef().size());
    for (const c10::IValue& element : value.toListRef())
      writer_.put(varying_kind(element, arguments_));
  }

  void tensor_list(const c10::IValue& value, const ArgumentTraits& traits) {
    list(ArgumentKind::kTensorList, value.toListRef().size());
    for (const c10::IValue& element : value.toListRef()) argument(element, traits);
  }

  void fixed(const c10::IValue& value) {
    if (value.isInt()) {
      writer_.put(ArgumentKind::kInteger);
      writer_.put(value.toInt());
    } else if (value.isBool()) {
      writer_.put(ArgumentKind::kBoolean);
      writer_.put(static_cast<std::uint8_t>(value.toBool()));
    } else if (value.isIntList()) {
      list(ArgumentKind::kIntegerList, value.toIntList().size());
      for (const std::int64_t element : value.toIntList()) writer_.put(element);
    } else if (value.isBoolList()) {
      list(ArgumentKind::kBooleanList, value.toBoolList().size());
      for (const bool element : value.toBoolList()) writer_.put(static_cast<std::uint8_t>(element));
    } else if (value.isDouble()) {
      writer_.put(ArgumentKind::kDouble);
      writer_.put(value.toDouble());
    } else if (value.isComplexDouble()) {
      writer_.put(ArgumentKind::kComplex);
      writer_.put(value.toComplexDouble().real());
      writer_.put(value.toComplexDouble().imag());
    } else if (value.isString()) {
      writer_.put(ArgumentKind::kString);
      writer_.put_string(value.toStringRef());
    } else {
      list(ArgumentKind::kIntegerList, value.toListRef().size());
      for (const c10::IValue& element : value.toListRef()) writer_.put(element.toInt());
    }
  }

  c10::ArrayRef<c10::IValue> arguments_;
  protocol::ByteWriter& writer_;
};

}  // namespace

void encode_call(const OperatorRecord& record, c10::ArrayRef<c10::IValue> arguments,
                 EncodedCall& call) {
  call.key.push_back(record.number());
  Encoder encoder(record, arguments, call);
  for (std::size_t i = 0; i < arguments.size(); ++i) encoder.argument(i, arguments[i]);
  if (call.device_index < 0) call.device_index = current_device_index();
  call.hash = session::hash_plan_key(call.plan_key());
}

void define_arguments(const OperatorRecord& record, c10::ArrayRef<c10::IValue> arguments,
                      protocol::ByteWriter& writer) {
  writer.put(static_cast<std::uint16_t>(arguments.size()));
  Definer definer(arguments, writer);
  for (std::size_t i = 0; i < arguments.size(); ++i)
    definer.argument(arguments[i], record.arguments()[i]);
}

}  // namespace torch_remote::client
