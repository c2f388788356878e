// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A session's storages by id, each with the tensors that were last made of it: a call that names a
// storage with the layout that it had before costs a look-up and no allocation.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <c10/core/Device.h>
#include <c10/core/DispatchKeySet.h>
#include <c10/util/flat_hash_map.h>
#include <cstddef>
#include <cstdint>

#include "core/executor/libtorch/planned_tensor.h"
#include "core/protocol/commands.h"

namespace torch_remote::executor::libtorch {

using protocol::TensorId;

// Unknown ids and ranges outside of a storage are refused with ExecutorError; an id that is given
// twice with ProtocolError, since a client that does this has lost count.
class StorageTable {
 public:
  StorageTable(c10::Device device, std::uint64_t storage_size_bytes_max);

  void allocate(TensorId id, std::uint64_t size_bytes);
  // The tensor that begins at element offset of the storage. The reference is valid until the table
  // changes; asking for another layout may change the tensor behind it.
  const at::Tensor& tensor(TensorId id, std::uint64_t offset, const PlannedTensor& planned);
  // Gives a tensor that nobody else holds, at offset 0 of a storage of its own, an id.
  void insert(TensorId id, at::Tensor tensor);
  void erase(TensorId id) noexcept { entries_.erase(id); }
  // The same for memory that can't be given back, since its device has failed: it stays taken until
  // the process ends.
  void abandon(TensorId id) noexcept;
  void abandon_all() noexcept;

  // The bytes of the range, as a tensor of uint8.
  at::Tensor bytes(TensorId id, std::uint64_t offset_bytes, std::uint64_t size_bytes);
  // The whole storage.
  const c10::Storage& storage(TensorId id);
  void rename(TensorId id, TensorId new_id);

  // To be called when an operator may have changed the sizes of the tensors made of this storage.
  void forget_tensors(TensorId id);

  std::size_t size() const { return entries_.size(); }
  // Of all storages together. Looks at each of them.
  std::uint64_t size_bytes() const;

 private:
  struct Entry {
    at::Tensor first;   // as the storage came to be; keeps the storage alive
    at::Tensor latest;  // the last one made with another layout; may be undefined
  };

  Entry& find(TensorId id);
  at::Tensor make_tensor(const c10::Storage& storage, std::uint64_t offset,
                         const PlannedTensor& planned) const;
  at::Tensor make_bytes(c10::Storage storage, std::uint64_t offset_bytes,
                        std::uint64_t size_bytes) const;

  c10::Device device_;
  c10::Allocator* allocator_;
  c10::DispatchKeySet keys_;
  std::uint64_t storage_size_bytes_max_;
  ska::flat_hash_map<TensorId, Entry> entries_;
};

}  // namespace torch_remote::executor::libtorch
