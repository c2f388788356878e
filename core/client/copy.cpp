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
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/item.h>
#include <c10/util/Exception.h>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "core/client/device.h"
#include "core/client/errors.h"
#include "core/client/native_operators.h"
#include "core/client/pinned_memory.h"
#include "core/client/recording.h"
#include "core/client/run_operator.h"
#include "core/client/source_location.h"
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

// Calls copy, which takes turns of its own and says when it happened by a model's clock, between
// two marks where a profile is taken.
template <typename Copy>
void record_copy(Device& device, RecordedOperation::Kind kind, const char* name,
                 std::uint64_t size_bytes, Copy copy) {
  prepare_recording(device);
  OperationMark mark(device);
  if (mark) {
    auto turn = turn_of(device);
    mark.begin(turn);
  }
  const std::optional<session::ModelledSpan> span = copy();
  if (mark) {
    auto turn = turn_of(device);
    mark.end(turn,
             {.kind = kind,
              .name = name,
              .size_bytes = size_bytes,
              .location = capture_source_location()},
             span);
  }
}

// hold is what keeps the source's memory if nobody waits, or null.
void write(const at::Tensor& source, const at::Tensor& destination,
           const std::shared_ptr<void>& hold) {
  Device& device = device_of(destination.device());
  const std::span bytes(static_cast<const std::byte*>(source.const_data_ptr()), source.nbytes());
  const session::TensorId id = id_of(destination.storage());
  const std::uint32_t stream = current_stream(device.index());
  const std::uint32_t location = capture_source_location();
  const bool from_pinned = hold != nullptr || is_pinned(bytes.data());
  const auto copy = [&] {
    return hold != nullptr ? device.session().write_later(id, offset_bytes(destination), bytes,
                                                          hold, stream, location)
                           : device.session().write(id, offset_bytes(destination), bytes, stream,
                                                    location, from_pinned);
  };
  const char* name =
      from_pinned ? "Memcpy HtoD (Pinned -> Device)" : "Memcpy HtoD (Pageable -> Device)";
  with_torch_errors(device.index(), [&] {
    record_copy(device, RecordedOperation::Kind::kCopyToDevice, name, bytes.size(), copy);
  });
}

// hold as above, of the destination's memory. All that the two cover is read, whatever the layout.
void read(const at::Tensor& source, const at::Tensor& destination,
          const std::shared_ptr<void>& hold) {
  Device& device = device_of(source.device());
  const std::span bytes(static_cast<std::byte*>(destination.mutable_data_ptr()),
                        destination.nbytes());
  const session::TensorId id = id_of(source.storage());
  const std::uint32_t stream = current_stream(device.index());
  const std::uint32_t location = capture_source_location();
  const bool to_pinned = hold != nullptr || is_pinned(bytes.data());
  const auto copy = [&] {
    return hold != nullptr ? device.session().read_later(id, offset_bytes(source), bytes, hold,
                                                         stream, location)
                           : device.session().read(id, offset_bytes(source), bytes, stream,
                                                   location, to_pinned);
  };
  const char* name =
      to_pinned ? "Memcpy DtoH (Device -> Pinned)" : "Memcpy DtoH (Device -> Pageable)";
  with_torch_errors(device.index(), [&] {
    record_copy(device, RecordedOperation::Kind::kCopyFromDevice, name, bytes.size(), copy);
  });
}

void upload(const at::Tensor& source, const at::Tensor& destination, bool non_blocking) {
  check_dtype(source);
  if (source.numel() == 0) return;
  const at::Tensor plain = source.resolve_conj().resolve_neg().contiguous();
  const auto hold = non_blocking ? hold_pinned(plain.storage()) : nullptr;
  if (is_plain(destination) && source.scalar_type() == destination.scalar_type() &&
      source.sizes() == destination.sizes()) {
    return write(plain, destination, hold);
  }
  const at::Tensor staged = empty_plain(source, source.scalar_type(), destination.device());
  write(plain, staged, hold);
  copy_on_device(staged, destination);
}

// Whether the tensor covers each of its bytes once, so that they can be read as one run.
bool is_dense(const at::Tensor& tensor) {
  return tensor.is_non_overlapping_and_dense() && !tensor.is_conj() && !tensor.is_neg();
}

// Of the same shape.
bool has_layout_of(const at::Tensor& source, const at::Tensor& destination) {
  if (source.scalar_type() != destination.scalar_type() || source.is_conj() || source.is_neg())
    return false;
  return source.strides() == destination.strides() ||
         (source.is_contiguous() && destination.is_contiguous());
}

void download(const at::Tensor& source, const at::Tensor& destination, bool non_blocking) {
  if (destination.numel() == 0) return;
  if (!is_dense(destination) || source.sizes() != destination.sizes()) {
    const at::Tensor local = empty_plain(source, destination.scalar_type(), c10::Device(c10::kCPU));
    download(source, local, /*non_blocking=*/false);
    at::Tensor target = destination;
    target.copy_(local);
    return;
  }
  at::Tensor staged = source;
  if (!has_layout_of(source, destination)) {
    staged =
        at::empty_strided(destination.sizes(), destination.strides(),
                          at::TensorOptions().dtype(destination.dtype()).device(source.device()));
    copy_on_device(source, staged);
  }
  read(staged, destination, non_blocking ? hold_pinned(destination.storage()) : nullptr);
}

}  // namespace

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& destination, bool non_blocking) {
  non_blocking = non_blocking && !is_synchronous();
  at::infer_size(self.sizes(), destination.sizes());  // the same error as any broadcast
  TORCH_CHECK(at::infer_size(self.sizes(), destination.sizes()) == destination.sizes().vec(),
              "output with shape ", destination.sizes(), " doesn't match the broadcast shape ",
              at::infer_size(self.sizes(), destination.sizes()));
  if (!is_remote(self)) {
    TORCH_CHECK(self.device().is_cpu(), "copy from ", self.device(), " to ", destination.device(),
                " goes through CPU: use .cpu() first");
    upload(self, destination, non_blocking);
  } else if (!is_remote(destination)) {
    TORCH_CHECK(destination.device().is_cpu(), "copy from ", self.device(), " to ",
                destination.device(), " goes through CPU: use .cpu() first");
    download(self, destination, non_blocking);
  } else if (self.device() == destination.device()) {
    copy_on_device(self, destination);
  } else {
    // Two executors don't know each other; the bytes go through here.
    const at::Tensor local = empty_plain(self, self.scalar_type(), c10::Device(c10::kCPU));
    download(self, local, /*non_blocking=*/false);
    upload(local, destination, /*non_blocking=*/false);
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
  download(self, local, /*non_blocking=*/false);
  return local.item();
}

}  // namespace torch_remote::client
