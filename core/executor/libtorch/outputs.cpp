// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/outputs.h"

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_strided.h>
#include <algorithm>
#include <c10/core/ScalarType.h>
#include <c10/util/StringUtil.h>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/executor/executor.h"
#include "core/protocol/tensor_layout.h"

namespace torch_remote::executor::libtorch {
namespace {

using c10::IValue;
using protocol::DescribedOutput;
using protocol::ErrorKind;
using protocol::OutputKind;

std::string metadata(caffe2::TypeMeta dtype, c10::IntArrayRef sizes) {
  return c10::str(dtype.toScalarType(), " of sizes ", sizes);
}

[[noreturn]] void throw_differs(const std::string& name, const PlannedTensor& planned,
                                const std::string& actual) {
  throw ExecutorError(ErrorKind::kRuntime, name + ": the plan says that it returns " +
                                               metadata(planned.dtype, planned.sizes_ref()) +
                                               ", the executor's kernel returned " + actual);
}

// Only such tensors have what the functions below look at.
bool is_plain(const at::Tensor& tensor, c10::Device device) {
  return tensor.layout() == c10::kStrided && tensor.device() == device && tensor.has_storage();
}

// Whether nothing else holds the tensor or its storage, and the storage has nothing but its
// elements. PyTorch's lazy zeros (_efficientzerotensor) have a storage without memory.
bool is_alone(const at::Tensor& tensor, std::uint64_t extent_size_bytes) {
  const c10::TensorImpl& implementation = *tensor.unsafeGetTensorImpl();
  const c10::Storage& storage = implementation.unsafe_storage();
  return tensor.use_count() == 1 && storage.use_count() == 1 &&
         storage.nbytes() == extent_size_bytes && implementation.storage_offset() == 0 &&
         !tensor._is_zerotensor();
}

// Strides of dimensions that are never stepped along don't move any element.
bool are_strides_equivalent(const c10::TensorImpl& tensor, const PlannedTensor& planned) {
  if (tensor.numel() == 0) return true;
  for (std::size_t i = 0; i < planned.sizes.size(); ++i) {
    if (planned.sizes[i] > 1 && tensor.strides()[i] != planned.strides[i]) return false;
  }
  return true;
}

void conform_tensor(at::Tensor& tensor, const PlannedTensor& planned, c10::Device device,
                    const std::string& name) {
  if (!tensor.defined()) throw_differs(name, planned, "an undefined tensor");
  c10::TensorImpl& actual = *tensor.unsafeGetTensorImpl();
  if (!is_plain(tensor, device)) {
    throw_differs(name, planned,
                  c10::str("a tensor of layout ", tensor.layout(), " on ", tensor.device()));
  }
  if (actual.dtype() != planned.dtype || actual.sizes() != planned.sizes_ref()) {
    throw_differs(name, planned, metadata(actual.dtype(), actual.sizes()));
  }
  const bool has_planned_bits =
      actual.is_conj() == planned.is_conjugate && actual.is_neg() == planned.is_negative;
  if (has_planned_bits && is_alone(tensor, planned.extent_size_bytes)) {
    if (actual.strides() == planned.strides_ref()) return;
    // Calls that use this tensor will name the planned strides.
    if (are_strides_equivalent(actual, planned)) {
      return actual.set_sizes_and_strides(planned.sizes_ref(), planned.strides_ref());
    }
  }
  at::Tensor copy = at::empty_strided(planned.sizes_ref(), planned.strides_ref(), tensor.options());
  copy._set_conj(planned.is_conjugate);
  copy._set_neg(planned.is_negative);
  copy.copy_(tensor);
  tensor = std::move(copy);
}

void conform_list(IValue& result, const PlannedOutput& planned, c10::Device device,
                  const std::string& name) {
  std::vector<at::Tensor> tensors;
  if (result.isTensorList()) tensors = result.toTensorVector();
  if (!result.isTensorList() || tensors.size() != planned.elements.size()) {
    throw ExecutorError(
        ErrorKind::kRuntime,
        c10::str(name, ": the plan says that it returns a list of ", planned.elements.size(),
                 " tensors, the executor's kernel returned ",
                 result.isTensorList() ? c10::str(tensors.size()) : result.tagKind()));
  }
  result = IValue();  // or every storage in it would count as shared
  c10::List<at::Tensor> conformed;
  conformed.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const PlannedOutput& element = planned.elements[i];
    if (element.kind == OutputKind::kFresh)
      conform_tensor(tensors[i], element.tensor, device, name);
    conformed.push_back(std::move(tensors[i]));
  }
  result = std::move(conformed);
}

// ---- description ----

// Whether no two elements are one. False for some layouts as well in which dimensions interlock.
bool is_non_overlapping(const at::Tensor& tensor) {
  std::vector<std::pair<std::int64_t, std::int64_t>> dimensions;  // stride, size
  for (std::int64_t i = 0; i < tensor.dim(); ++i) {
    if (tensor.size(i) > 1) dimensions.emplace_back(tensor.stride(i), tensor.size(i));
  }
  std::ranges::sort(dimensions);
  std::int64_t extent = 1;
  for (const auto& [stride, size] : dimensions) {
    if (stride < extent) return false;
    extent += stride * (size - 1);
  }
  return true;
}

std::uint8_t flags_of(const at::Tensor& tensor) {
  return static_cast<std::uint8_t>((tensor.is_conj() ? protocol::kConjugateFlag : 0) |
                                   (tensor.is_neg() ? protocol::kNegativeFlag : 0));
}

// With the gaps that the original has between its elements, and its lazy bits.
at::Tensor copy_in_same_layout(const at::Tensor& tensor) {
  if (!is_non_overlapping(tensor)) return tensor.clone();
  at::Tensor copy = at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options());
  copy._set_conj(tensor.is_conj());
  copy._set_neg(tensor.is_neg());
  return copy.copy_(tensor);
}

class Describer {
 public:
  Describer(std::span<SparseArgument> arguments, TensorId next_id, c10::Device device,
            StorageTable& storages)
      : arguments_(arguments), next_id_(next_id), device_(device), storages_(storages) {}

  void describe(IValue result);
  std::vector<DescribedOutput> take() { return std::move(described_); }

 private:
  void describe_tensor(at::Tensor tensor);
  void describe_sparse(at::Tensor tensor);
  void describe_list(IValue result);

  std::span<SparseArgument> arguments_;
  TensorId next_id_;
  c10::Device device_;
  StorageTable& storages_;
  std::vector<DescribedOutput> described_;
};

void Describer::describe(IValue result) {
  if (result.isTensor()) return describe_tensor(std::move(result).toTensor());
  if (result.isTensorList() || result.isOptionalTensorList())
    return describe_list(std::move(result));
  DescribedOutput output;
  if (result.isInt() || result.isSymInt()) {
    output.kind = DescribedOutput::Kind::kInteger;
    output.integer = result.toSymInt().expect_int();
  } else if (result.isBool()) {
    output.kind = DescribedOutput::Kind::kBoolean;
    output.integer = result.toBool() ? 1 : 0;
  } else if (result.isDouble()) {
    output.kind = DescribedOutput::Kind::kDouble;
    output.number = result.toDouble();
  } else if (!result.isNone()) {
    throw ExecutorError(ErrorKind::kNotImplemented,
                        "a result of type " + result.tagKind() + " can't be described");
  }
  described_.push_back(std::move(output));
}

void Describer::describe_list(IValue result) {
  DescribedOutput bracket;
  bracket.kind = DescribedOutput::Kind::kListBegin;
  described_.push_back(bracket);
  std::vector<IValue> elements = result.toListRef().vec();
  result = IValue();  // or every storage in it would count as shared
  for (IValue& element : elements) describe(std::move(element));
  bracket.kind = DescribedOutput::Kind::kListEnd;
  described_.push_back(bracket);
}

void Describer::describe_sparse(at::Tensor tensor) {
  DescribedOutput output;
  output.kind = DescribedOutput::Kind::kSparseTensor;
  output.sparse = sparse_layout_of(tensor);
  described_.push_back(std::move(output));
  const auto argument = std::ranges::find_if(arguments_, [&](const SparseArgument& one) {
    return one.is_written() && one.tensor().is_same(tensor);
  });
  std::vector<at::Tensor> components = components_of(tensor);
  tensor.reset();  // or every component would count as shared
  if (argument != arguments_.end()) argument->release();
  for (std::size_t i = 0; i < components.size(); ++i) {
    if (argument != arguments_.end() && argument->is_kept(i, components[i])) {
      described_.emplace_back().kind = DescribedOutput::Kind::kKeptComponent;
    } else {
      describe_tensor(std::move(components[i]));
    }
  }
}

void Describer::describe_tensor(at::Tensor tensor) {
  if (is_sparse(tensor)) return describe_sparse(std::move(tensor));
  DescribedOutput output;
  if (tensor.defined()) {
    if (!is_plain(tensor, device_)) {
      throw ExecutorError(ErrorKind::kNotImplemented,
                          c10::str("a tensor of layout ", tensor.layout(), " on ", tensor.device(),
                                   " can't be described"));
    }
    output.kind = DescribedOutput::Kind::kTensor;
    output.layout.dtype = static_cast<protocol::DataType>(tensor.scalar_type());
    if (protocol::data_type_size_bytes(output.layout.dtype) == 0) {
      throw ExecutorError(
          ErrorKind::kNotImplemented,
          c10::str("a tensor of dtype ", tensor.scalar_type(), " can't be described"));
    }
    output.layout.sizes = tensor.sizes().vec();
    output.layout.strides = tensor.strides().vec();
    if (!is_alone(tensor, protocol::extent_size_bytes(output.layout))) {
      tensor = copy_in_same_layout(tensor);
      output.layout.strides = tensor.strides().vec();
    }
    output.layout.flags = flags_of(tensor);
    output.storage_size_bytes = tensor.storage().nbytes();
    storages_.insert(next_id_++, std::move(tensor));
  }
  described_.push_back(std::move(output));
}

}  // namespace

void conform(IValue& result, const PlannedOutput& planned, c10::Device device,
             const std::string& name) {
  if (planned.kind == OutputKind::kList) return conform_list(result, planned, device, name);
  if (planned.kind != OutputKind::kFresh) return;
  if (!result.isTensor()) throw_differs(name, planned.tensor, result.tagKind());
  conform_tensor(result.toTensor(), planned.tensor, device, name);
}

std::vector<DescribedOutput> describe_and_store(std::vector<IValue>& results,
                                                std::span<SparseArgument> arguments,
                                                TensorId first_id, c10::Device device,
                                                StorageTable& storages) {
  Describer describer(arguments, first_id, device, storages);
  for (IValue& result : results) describer.describe(std::move(result));
  return describer.take();
}

}  // namespace torch_remote::executor::libtorch
