// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/storage_table.h"

#include <array>
#include <c10/core/Storage.h>
#include <c10/core/TensorImpl.h>
#include <c10/core/TensorOptions.h>
#include <string>
#include <utility>

#include "core/executor/executor.h"
#include "core/protocol/bytes.h"

namespace torch_remote::executor::libtorch {
namespace {

using protocol::ErrorKind;
using protocol::ProtocolError;

[[noreturn]] void throw_unknown(TensorId id) {
  throw ExecutorError(ErrorKind::kRuntime,
                      "there is no storage " + std::to_string(id) + " on the executor");
}

[[noreturn]] void throw_outside(TensorId id, const c10::Storage& storage) {
  throw ExecutorError(ErrorKind::kIndex, "a tensor reaches beyond the " +
                                             std::to_string(storage.nbytes()) +
                                             " bytes of its storage " + std::to_string(id));
}

}  // namespace

StorageTable::StorageTable(c10::Device device, std::uint64_t storage_size_bytes_max)
    : device_(device),
      allocator_(c10::GetAllocator(device.type())),
      keys_(c10::computeDispatchKey(std::nullopt, std::nullopt, device)),
      storage_size_bytes_max_(storage_size_bytes_max) {}

const at::Tensor& StorageTable::tensor(TensorId id, std::uint64_t offset,
                                       const PlannedTensor& planned) {
  Entry& entry = find(id);
  const auto signed_offset = static_cast<std::int64_t>(offset);
  // A tensor that is there was checked when it was made, and the storage has not shrunk since.
  if (planned.is_layout_of(*entry.first.unsafeGetTensorImpl(), signed_offset)) return entry.first;
  if (entry.latest.defined() &&
      planned.is_layout_of(*entry.latest.unsafeGetTensorImpl(), signed_offset)) {
    return entry.latest;
  }
  const c10::Storage& storage = entry.first.unsafeGetTensorImpl()->unsafe_storage();
  if (!planned.fits(offset, storage.nbytes())) throw_outside(id, storage);
  entry.latest = make_tensor(storage, offset, planned);
  return entry.latest;
}

void StorageTable::allocate(TensorId id, std::uint64_t size_bytes) {
  if (size_bytes > storage_size_bytes_max_) {
    throw ExecutorError(ErrorKind::kValue, "a storage of " + std::to_string(size_bytes) +
                                               " bytes is larger than the executor's limit of " +
                                               std::to_string(storage_size_bytes_max_));
  }
  c10::Storage storage(c10::Storage::use_byte_size_t(), static_cast<std::int64_t>(size_bytes),
                       allocator_->allocate(size_bytes), allocator_, /*resizable=*/true);
  insert(id, make_bytes(std::move(storage), 0, size_bytes));
}

void StorageTable::insert(TensorId id, at::Tensor tensor) {
  const auto [entry, is_new] = entries_.emplace(id, Entry{std::move(tensor), at::Tensor()});
  if (!is_new) throw ProtocolError("storage " + std::to_string(id) + " is made a second time");
}

namespace {

// Its memory is never freed, for that would ask the device, and a destructor can't throw.
void abandon(at::Tensor& tensor) noexcept {
  if (tensor.defined()) tensor.unsafeReleaseTensorImpl();
}

}  // namespace

void StorageTable::abandon(TensorId id) noexcept {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  libtorch::abandon(found->second.latest);
  libtorch::abandon(found->second.first);
  entries_.erase(found);
}

void StorageTable::abandon_all() noexcept {
  for (auto& [id, entry] : entries_) {
    libtorch::abandon(entry.latest);
    libtorch::abandon(entry.first);
  }
  entries_.clear();
}

at::Tensor StorageTable::bytes(TensorId id, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  const c10::Storage& whole = storage(id);
  if (size_bytes > whole.nbytes() || offset_bytes > whole.nbytes() - size_bytes) {
    throw ExecutorError(ErrorKind::kIndex,
                        "bytes " + std::to_string(offset_bytes) + " and " +
                            std::to_string(size_bytes) + " more are not within the " +
                            std::to_string(whole.nbytes()) + " of storage " + std::to_string(id));
  }
  return make_bytes(whole, offset_bytes, size_bytes);
}

const c10::Storage& StorageTable::storage(TensorId id) {
  return find(id).first.unsafeGetTensorImpl()->unsafe_storage();
}

void StorageTable::rename(TensorId id, TensorId new_id) {
  Entry entry = std::move(find(id));
  entries_.erase(id);
  if (!entries_.emplace(new_id, std::move(entry)).second) {
    throw ProtocolError("storage " + std::to_string(new_id) + " is made a second time");
  }
}

void StorageTable::forget_tensors(TensorId id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  const c10::Storage storage = found->second.first.storage();
  found->second = Entry{make_bytes(storage, 0, storage.nbytes()), at::Tensor()};
}

std::uint64_t StorageTable::size_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [id, entry] : entries_) {
    sum += entry.first.unsafeGetTensorImpl()->unsafe_storage().nbytes();
  }
  return sum;
}

StorageTable::Entry& StorageTable::find(TensorId id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) throw_unknown(id);
  return found->second;
}

at::Tensor StorageTable::make_tensor(const c10::Storage& storage, std::uint64_t offset,
                                     const PlannedTensor& planned) const {
  at::Tensor tensor =
      at::detail::make_tensor_base<c10::TensorImpl>(c10::Storage(storage), keys_, planned.dtype);
  c10::TensorImpl& implementation = *tensor.unsafeGetTensorImpl();
  implementation.set_sizes_and_strides(planned.sizes_ref(), planned.strides_ref(),
                                       static_cast<std::int64_t>(offset));
  if (planned.is_conjugate) implementation._set_conj(true);
  if (planned.is_negative) implementation._set_neg(true);
  return tensor;
}

at::Tensor StorageTable::make_bytes(c10::Storage storage, std::uint64_t offset_bytes,
                                    std::uint64_t size_bytes) const {
  at::Tensor tensor = at::detail::make_tensor_base<c10::TensorImpl>(
      std::move(storage), keys_, c10::scalarTypeToTypeMeta(c10::kByte));
  const std::int64_t size = static_cast<std::int64_t>(size_bytes), stride = 1;
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(
      c10::IntArrayRef(size), c10::IntArrayRef(stride), static_cast<std::int64_t>(offset_bytes));
  return tensor;
}

}  // namespace torch_remote::executor::libtorch
