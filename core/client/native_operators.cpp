// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/native_operators.h"

#include <ATen/EmptyTensor.h>
#include <ATen/native/Resize.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/addbmm.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/vdot.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/Exception.h>

#include "core/client/device.h"
#include "core/client/run_operator.h"
#include "core/client/storage.h"
#include "core/client/streams.h"

namespace torch_remote::client {
namespace {

constexpr c10::DispatchKeySet kRemoteKeys(c10::DispatchKey::PrivateUse1);

c10::Device check_options(std::optional<c10::Layout> layout, std::optional<c10::Device> device,
                          std::optional<bool> pin_memory) {
  TORCH_CHECK_NOT_IMPLEMENTED(c10::layout_or_default(layout) == c10::Layout::Strided,
                              "a remote device holds strided tensors; ",
                              c10::layout_or_default(layout), " is not supported");
  TORCH_CHECK(!c10::pinned_memory_or_default(pin_memory), "Only dense CPU tensors can be pinned");
  return device_of(c10::device_or_default(device)).torch_device();
}

// Bytes from the storage's begin that a geometry needs.
std::uint64_t needed_bytes(const at::Tensor& tensor, c10::IntArrayRef sizes,
                           c10::IntArrayRef strides) {
  return at::detail::computeStorageNbytes(sizes, strides, tensor.element_size(),
                                          static_cast<std::size_t>(tensor.storage_offset()));
}

c10::StorageImpl& storage_of(const at::Tensor& tensor) {
  return *tensor.storage().unsafeGetStorageImpl();
}

at::Tensor call_operator(const char* name, const at::Tensor& self, const at::Tensor& other) {
  torch::jit::Stack stack{self, other};
  run_operator(name, "", &stack);
  return std::move(stack[0]).toTensor();
}

}  // namespace

at::Tensor empty(c10::SymIntArrayRef sizes, std::optional<c10::ScalarType> dtype,
                 std::optional<c10::Layout> layout, std::optional<c10::Device> device,
                 std::optional<bool> pin_memory, std::optional<c10::MemoryFormat> memory_format) {
  const c10::DeviceGuard guard(check_options(layout, device, pin_memory));
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(sizes), remote_allocator(), kRemoteKeys,
                                   c10::dtype_or_default(dtype), memory_format);
}

at::Tensor empty_strided(c10::SymIntArrayRef sizes, c10::SymIntArrayRef strides,
                         std::optional<c10::ScalarType> dtype, std::optional<c10::Layout> layout,
                         std::optional<c10::Device> device, std::optional<bool> pin_memory) {
  const c10::DeviceGuard guard(check_options(layout, device, pin_memory));
  return at::detail::empty_strided_generic(C10_AS_INTARRAYREF_SLOW(sizes),
                                           C10_AS_INTARRAYREF_SLOW(strides), remote_allocator(),
                                           kRemoteKeys, c10::dtype_or_default(dtype));
}

at::Tensor as_strided(const at::Tensor& self, c10::SymIntArrayRef sizes,
                      c10::SymIntArrayRef strides, std::optional<c10::SymInt> storage_offset) {
  const auto offset = storage_offset ? std::optional(storage_offset->expect_int()) : std::nullopt;
  ++session::views_made;
  return at::native::as_strided_tensorimpl(self, C10_AS_INTARRAYREF_SLOW(sizes),
                                           C10_AS_INTARRAYREF_SLOW(strides), offset);
}

at::Tensor view(const at::Tensor& self, c10::SymIntArrayRef sizes) {
  ++session::views_made;
  return at::native::view(self, C10_AS_INTARRAYREF_SLOW(sizes));
}

at::Tensor reshape_alias(const at::Tensor& self, c10::SymIntArrayRef sizes,
                         c10::SymIntArrayRef strides) {
  ++session::views_made;
  return at::native::_reshape_alias(self, C10_AS_INTARRAYREF_SLOW(sizes),
                                    C10_AS_INTARRAYREF_SLOW(strides));
}

const at::Tensor& resize_(const at::Tensor& self, c10::SymIntArrayRef symbolic_sizes,
                          std::optional<c10::MemoryFormat> memory_format) {
  const auto sizes = C10_AS_INTARRAYREF_SLOW(symbolic_sizes);
  c10::TensorImpl& impl = *self.unsafeGetTensorImpl();
  if (sizes != self.sizes()) {
    impl.set_sizes_contiguous(sizes);
    const std::uint64_t needed = needed_bytes(self, self.sizes(), self.strides());
    if (self.numel() > 0 && needed > self.storage().nbytes())
      resize_storage(storage_of(self), needed);
  }
  if (memory_format) {
    TORCH_CHECK(*memory_format != c10::MemoryFormat::Preserve, "Unsupported memory format",
                *memory_format);
    impl.empty_tensor_restride(*memory_format);
  }
  return self;
}

at::Tensor& set_storage_(at::Tensor& self, c10::Storage storage) {
  const c10::SymInt elements(static_cast<std::int64_t>(storage.nbytes() / self.element_size()));
  return set_storage_geometry_(self, std::move(storage), 0, c10::SymIntArrayRef(&elements, 1), {});
}

at::Tensor& set_storage_geometry_(at::Tensor& self, c10::Storage storage,
                                  c10::SymInt storage_offset, c10::SymIntArrayRef sizes,
                                  c10::SymIntArrayRef strides) {
  const auto plain_sizes = C10_AS_INTARRAYREF_SLOW(sizes);
  const auto plain_strides = C10_AS_INTARRAYREF_SLOW(strides);
  const std::int64_t offset = storage_offset.expect_int();
  at::native::checkSetStorage(self, std::move(storage), offset, plain_sizes, plain_strides);
  c10::TensorImpl& impl = *self.unsafeGetTensorImpl();
  impl.set_storage_offset(offset);
  if (strides.empty() && !sizes.empty()) {
    impl.set_sizes_contiguous(plain_sizes);
  } else {
    impl.set_sizes_and_strides(plain_sizes, plain_strides);
  }
  const std::uint64_t needed = needed_bytes(self, self.sizes(), self.strides());
  if (self.numel() > 0 && needed > self.storage().nbytes())
    resize_storage(storage_of(self), needed);
  return self;
}

at::Tensor& set_tensor_(at::Tensor& self, const at::Tensor& source) {
  if (self.unsafeGetTensorImpl() == source.unsafeGetTensorImpl()) return self;
  return set_storage_geometry_(self, source.storage(), source.storage_offset(), source.sym_sizes(),
                               source.sym_strides());
}

at::Tensor& set_empty_(at::Tensor& self) {
  Device& device = device_of(self.device());
  const c10::DeviceGuard guard(device.torch_device());
  c10::Storage storage(c10::Storage::use_byte_size_t(), 0, remote_allocator()->allocate(0),
                       remote_allocator(), true);
  const c10::SymInt nothing(0);
  return set_storage_geometry_(self, std::move(storage), 0, c10::SymIntArrayRef(&nothing, 1), {});
}

at::Tensor efficient_zeros(c10::SymIntArrayRef sizes, std::optional<c10::ScalarType> dtype,
                           std::optional<c10::Layout> layout, std::optional<c10::Device> device,
                           std::optional<bool> pin_memory) {
  const c10::Device target = check_options(layout, device, pin_memory);
  at::native::ZeroTensorAllocator allocator(target);
  auto zeros =
      at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(sizes), &allocator,
                                kRemoteKeys | c10::DispatchKeySet(c10::DispatchKey::ZeroTensor),
                                c10::dtype_or_default(dtype), std::nullopt);
  return zeros;
}

at::Tensor& addbmm_(at::Tensor& self, const at::Tensor& first, const at::Tensor& second,
                    const at::Scalar& beta, const at::Scalar& alpha) {
  const at::Tensor result = at::addbmm(self, first, second, beta, alpha);
  if (result.sizes() != self.sizes()) self.resize_(result.sizes());
  return self.copy_(result);
}

at::Tensor dot(const at::Tensor& self, const at::Tensor& other) {
  if (self.is_conj())
    return other.is_conj() ? at::dot(self.conj(), other.conj()).conj()
                           : at::vdot(self.conj(), other);
  if (other.is_conj()) return at::vdot(other.conj(), self);
  return call_operator("aten::dot", self, other);
}

at::Tensor vdot(const at::Tensor& self, const at::Tensor& other) {
  if (!self.is_complex()) return at::dot(self, other);
  if (self.is_conj())
    return other.is_conj() ? at::vdot(other.conj(), self.conj()) : at::dot(self.conj(), other);
  if (other.is_conj()) return at::dot(self, other.conj()).conj();
  return call_operator("aten::vdot", self, other);
}

void record_stream(at::Tensor& self, c10::Stream stream) {
  record_storage(id_of(self.storage()), self.device(), stream);
}

bool has_compatible_shallow_copy_type(const at::Tensor& self, const at::Tensor& from) {
  // PyTorch's own rule, and this backend among the dense ones.
  constexpr c10::DispatchKeySet kDense(c10::DispatchKey::Dense);
  constexpr c10::DispatchKeySet kBackends(
      {c10::BackendComponent::CPUBit, c10::BackendComponent::CUDABit, c10::BackendComponent::MPSBit,
       c10::BackendComponent::HIPBit, c10::BackendComponent::XPUBit, c10::BackendComponent::HPUBit,
       c10::BackendComponent::MTIABit, c10::BackendComponent::PrivateUse1Bit});
  const auto is_dense = [&](c10::DispatchKeySet keys) {
    return keys.has_any(kDense) && keys.has_any(kBackends);
  };
  return self.key_set() == from.key_set() || (is_dense(self.key_set()) && is_dense(from.key_set()));
}

}  // namespace torch_remote::client
