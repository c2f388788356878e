// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Tensors whose data pointer is an id: how storages are made and dropped.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <c10/core/Storage.h>
#include <cstdint>

#include "core/client/device.h"
#include "core/client/plan.h"

namespace torch_remote::client {

// The allocator of PyTorch's PrivateUse1: allocates on the thread's current device.
c10::Allocator* remote_allocator();

// A storage for an id that the session has handed out; its end frees the id.
c10::Storage make_storage(Device& device, session::TensorId id, std::uint64_t size_bytes);

// A tensor that fills a storage of its own from the first byte on.
at::Tensor make_tensor(Device& device, session::TensorId id, const PlannedTensor& planned);

// A tensor on a storage that exists; offset in elements.
at::Tensor make_view(const c10::Storage& storage, c10::ScalarType dtype, c10::IntArrayRef sizes,
                     c10::IntArrayRef strides, std::int64_t storage_offset);

// Asks the executor for another size of a storage, keeping the common prefix of its bytes.
void resize_storage(c10::StorageImpl& storage, std::uint64_t size_bytes);

inline session::TensorId id_of(const c10::Storage& storage) {
  return reinterpret_cast<std::uintptr_t>(storage.unsafeGetStorageImpl()->data_ptr().get());
}

}  // namespace torch_remote::client
