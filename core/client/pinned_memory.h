// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// "Pinned" memory for the device. Nothing is page-locked, since a socket would gain nothing by it:
// it is CPU memory of a pool whose blocks know the copies that are still under way, so that a copy
// to or from it needs nobody to wait, and a block that was dropped meanwhile is not used again.
#pragma once

#include <ATen/core/CachingHostAllocator.h>
#include <c10/core/Storage.h>
#include <memory>

namespace torch_remote::client {

// PyTorch's host allocator of the device type; lives as long as the process. Thread-safe.
at::HostAllocator* pinned_allocator();

// Whether an address lies in the pool. Thread-safe.
bool is_pinned(const void* address);

// Keeps the block of a storage from being used again until the last copy of the result is dropped,
// on whatever thread; null where the storage is none of the pool's. It does not keep the storage.
std::shared_ptr<void> hold_pinned(const c10::Storage& storage);

}  // namespace torch_remote::client
