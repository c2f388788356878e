// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/storage.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/StorageImpl.h>
#include <c10/util/Exception.h>
#include <memory>
#include <utility>

#include "core/client/errors.h"
#include "core/client/memory_statistics.h"
#include "core/client/source_location.h"
#include "core/client/streams.h"
#include "core/protocol/tensor_layout.h"

namespace torch_remote::client {
namespace {

// What the deleter of a data pointer needs to know.
struct Allocation {
  Device* device;
  session::TensorId id;
  std::uint64_t size_bytes;
};

void free_allocation(void* context) {
  const std::unique_ptr<Allocation> allocation(static_cast<Allocation*>(context));
  if (is_forked_child) return;  // the parent's tensor lives on
  allocation->device->session().free(allocation->id, allocation->size_bytes);
}

c10::DataPtr make_data_pointer(Device& device, session::TensorId id, std::uint64_t size_bytes) {
  auto allocation = std::make_unique<Allocation>(Allocation{&device, id, size_bytes});
  // The id is an address that nothing can be read from; it is never followed here.
  auto* address = reinterpret_cast<void*>(static_cast<std::uintptr_t>(id));  // NOLINT
  return {address, allocation.release(), &free_allocation, device.torch_device()};
}

c10::DataPtr allocate_on(Device& device, std::uint64_t size_bytes) {
  const std::uint32_t location = capture_source_location();
  const session::TensorId id = with_torch_errors(
      device.index(), [&] { return turn_of(device).allocate(size_bytes, location); });
  return make_data_pointer(device, id, size_bytes);
}

class RemoteAllocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(std::size_t size_bytes) override {
    return allocate_on(device_at(current_device_index()), size_bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void*, const void*, std::size_t) const override {
    TORCH_CHECK(false, "remote memory can't be copied by address; copy tensors");
  }

  bool initialized() override { return device_count() > 0; }
  void emptyCache(c10::MempoolId_t) override {
    for (int index = 0; index < device_count(); ++index) {
      if (is_running(index)) device_at(index).session().empty_cache();
    }
  }
  void recordStream(const c10::DataPtr& pointer, c10::Stream stream) override {
    record_storage(reinterpret_cast<std::uintptr_t>(pointer.get()), pointer.device(), stream);
  }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex index) override {
    if (is_pending(index)) return {};  // it needn't start for that
    return with_torch_errors(index, [&] { return device_statistics(device_at(index)); });
  }
  void resetAccumulatedStats(c10::DeviceIndex index) override {
    if (is_pending(index)) return;
    with_torch_errors(index, [&] { reset_accumulated_statistics(device_at(index)); });
  }
  void resetPeakStats(c10::DeviceIndex index) override {
    if (!is_pending(index)) device_at(index).session().reset_peak();
  }
  std::pair<std::size_t, std::size_t> getMemoryInfo(c10::DeviceIndex index) override {
    if (is_pending(index)) return {0, 0};
    return with_torch_errors(index, [&] { return memory_info(device_at(index)); });
  }
};

RemoteAllocator allocator;
REGISTER_ALLOCATOR(c10::DeviceType::PrivateUse1, &allocator);

constexpr c10::DispatchKeySet kRemoteKeys(c10::DispatchKey::PrivateUse1);

void set_geometry(c10::TensorImpl& tensor, c10::IntArrayRef sizes, c10::IntArrayRef strides,
                  std::int64_t storage_offset) {
  // A fresh TensorImpl has one dimension of size zero.
  tensor.set_sizes_and_strides(sizes, strides, storage_offset);
}

}  // namespace

c10::Allocator* remote_allocator() { return &allocator; }

c10::Storage make_storage(Device& device, session::TensorId id, std::uint64_t size_bytes) {
  return c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), size_bytes,
                                               make_data_pointer(device, id, size_bytes),
                                               &allocator,
                                               /*resizable=*/true);
}

at::Tensor make_tensor(Device& device, session::TensorId id, const PlannedTensor& planned) {
  auto tensor = at::detail::make_tensor<c10::TensorImpl>(
      make_storage(device, id, planned.storage_size_bytes), kRemoteKeys,
      c10::scalarTypeToTypeMeta(planned.dtype));
  set_geometry(*tensor.unsafeGetTensorImpl(), planned.sizes, planned.strides, 0);
  if (planned.flags != 0) [[unlikely]] {
    tensor._set_conj((planned.flags & protocol::kConjugateFlag) != 0);
    tensor._set_neg((planned.flags & protocol::kNegativeFlag) != 0);
  }
  return tensor;
}

at::Tensor make_view(const c10::Storage& storage, c10::ScalarType dtype, c10::IntArrayRef sizes,
                     c10::IntArrayRef strides, std::int64_t storage_offset) {
  auto tensor = at::detail::make_tensor<c10::TensorImpl>(
      c10::TensorImpl::VIEW, c10::Storage(storage), kRemoteKeys, c10::scalarTypeToTypeMeta(dtype));
  set_geometry(*tensor.unsafeGetTensorImpl(), sizes, strides, storage_offset);
  return tensor;
}

void resize_storage(c10::StorageImpl& storage, std::uint64_t size_bytes) {
  TORCH_CHECK(storage.resizable(), "Trying to resize storage that is not resizable");
  Device& device = device_of(storage.device());
  const auto id = reinterpret_cast<std::uintptr_t>(storage.data_ptr().get());
  const std::uint32_t location = capture_source_location();
  const session::TensorId new_id = with_torch_errors(device.index(), [&] {
    auto turn = turn_of(device);
    const session::TensorId fresh = turn.storage(size_bytes, location);
    turn.resize(id, fresh, size_bytes);
    return fresh;
  });
  // The old pointer's end frees the old id, of which the executor then knows nothing: no error
  // there.
  storage.set_data_ptr_noswap(make_data_pointer(device, new_id, size_bytes));
  storage.set_nbytes(size_bytes);
}

}  // namespace torch_remote::client
