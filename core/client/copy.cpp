// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Copies between CPU and a device, and within one. What travels is exactly what the view covers, in
// the source's dtype; layout and dtype are changed on the executor by its own copy_.
#include <ATen/EmptyTensor.h>
#include <ATen/ExpandUtils.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/item.h>
#include <c10/util/Exception.h>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/client/device.h"
#include "core/client/errors.h"
#include "core/client/native_operators.h"
#include "core/client/run_operator.h"
#include "core/client/storage.h"
#include "core/client/streams.h"
#include "core/protocol/tensor_layout.h"

namespace torch_remote::client {
namespace {

bool is_remote(const at::Tensor& tensor) {
  return tensor.device().type() == c10::DeviceType::PrivateUse1;
}

bool is_plain(const at::Tensor& tensor) {
  return tensor.is_contiguous() && !tensor.is_conj() && !tensor.is_neg();
}

std::uint64_t offset_bytes(const at::Tensor& tensor) {
  return static_cast<std::uint64_t>(tensor.storage_offset()) * tensor.element_size();
}

// destination.copy_(source) on the executor, which broadcasts and converts.
void copy_on_device(const at::Tensor& source, const at::Tensor& destination) {
  torch::jit::Stack stack{destination, source, false};
  run_operator("aten::copy_", "", &stack);
}

at::Tensor empty_plain(const at::Tensor& like, c10::ScalarType dtype, c10::Device device) {
  return at::empty(like.sizes(), at::TensorOptions().dtype(dtype).device(device));
}

void check_dtype(const at::Tensor& tensor) {
  const auto dtype = static_cast<protocol::DataType>(tensor.scalar_type());
  TORCH_CHECK_NOT_IMPLEMENTED(
      tensor.layout() == c10::Layout::Strided && protocol::data_type_size_bytes(dtype) != 0, "a ",
      tensor.layout(), " tensor of dtype ", tensor.scalar_type(),
      " can't be copied to a remote device");
}

void write(const at::Tensor& source, const at::Tensor& destination) {
  Device& device = device_of(destination.device());
  const std::span bytes(static_cast<const std::byte*>(source.const_data_ptr()), source.nbytes());
  with_torch_errors(device.index(), [&] {
    device.session().write(id_of(destination.storage()), offset_bytes(destination), bytes,
                           current_stream(device.index()));
  });
}

void read(const at::Tensor& source, const at::Tensor& destination) {
  Device& device = device_of(source.device());
  const std::span bytes(static_cast<std::byte*>(destination.mutable_data_ptr()),
                        destination.nbytes());
  with_torch_errors(device.index(), [&] {
    device.session().read(id_of(source.storage()), offset_bytes(source), bytes,
                          current_stream(device.index()));
  });
}

void upload(const at::Tensor& source, const at::Tensor& destination) {
  check_dtype(source);
  if (source.numel() == 0) return;
  const at::Tensor plain = source.resolve_conj().resolve_neg().contiguous();
  if (is_plain(destination) && source.scalar_type() == destination.scalar_type() &&
      source.sizes() == destination.sizes()) {
    return write(plain, destination);
  }
  const at::Tensor staged = empty_plain(source, source.scalar_type(), destination.device());
  write(plain, staged);
  copy_on_device(staged, destination);
}

void download(const at::Tensor& source, const at::Tensor& destination) {
  at::Tensor staged = source;
  if (!is_plain(source) || source.scalar_type() != destination.scalar_type()) {
    staged = empty_plain(source, destination.scalar_type(), source.device());
    copy_on_device(source, staged);
  }
  if (source.numel() == 0) return;
  if (is_plain(destination) && source.sizes() == destination.sizes())
    return read(staged, destination);
  const at::Tensor local = empty_plain(source, destination.scalar_type(), c10::Device(c10::kCPU));
  read(staged, local);
  at::Tensor target = destination;
  target.copy_(local);
}

}  // namespace

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& destination, bool /*non_blocking*/) {
  at::infer_size(self.sizes(), destination.sizes());  // the same error as any broadcast
  TORCH_CHECK(at::infer_size(self.sizes(), destination.sizes()) == destination.sizes().vec(),
              "output with shape ", destination.sizes(), " doesn't match the broadcast shape ",
              at::infer_size(self.sizes(), destination.sizes()));
  if (!is_remote(self)) {
    TORCH_CHECK(self.device().is_cpu(), "copy from ", self.device(), " to ", destination.device(),
                " goes through CPU: use .cpu() first");
    upload(self, destination);
  } else if (!is_remote(destination)) {
    TORCH_CHECK(destination.device().is_cpu(), "copy from ", self.device(), " to ",
                destination.device(), " goes through CPU: use .cpu() first");
    download(self, destination);
  } else if (self.device() == destination.device()) {
    copy_on_device(self, destination);
  } else {
    // Two executors don't know each other; the bytes go through here.
    const at::Tensor local = empty_plain(self, self.scalar_type(), c10::Device(c10::kCPU));
    download(self, local);
    upload(local, destination);
  }
  return destination;
}

at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& destination) {
  at::Tensor target = destination;
  target.resize_(self.sizes());
  return copy_from(self, target, /*non_blocking=*/false);
}

at::Scalar local_scalar_dense(const at::Tensor& self) {
  const at::Tensor local = at::detail::empty_cpu(self.sizes(), self.scalar_type());
  download(self, local);
  return local.item();
}

}  // namespace torch_remote::client
