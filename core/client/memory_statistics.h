// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A device's memory in numbers, under PyTorch's names: those of the executor's allocator where it
// has one (a round trip), else what the client has counted, and nothing is cached then.
#pragma once

#include <c10/core/CachingDeviceAllocator.h>
#include <cstdint>
#include <utility>

#include "core/client/device.h"
#include "core/protocol/replies.h"

namespace torch_remote::client {

// Such as "allocated_bytes.all.peak", with "free_bytes" and "total_bytes" where these are known.
protocol::Numbers memory_statistics(Device& device);

// The same in PyTorch's structure.
c10::CachingDeviceAllocator::DeviceStats device_statistics(Device& device);

// Free and total bytes; zeros where nobody knows them.
std::pair<std::uint64_t, std::uint64_t> memory_info(Device& device);

// The counts of what was ever allocated and freed begin anew.
void reset_accumulated_statistics(Device& device);

}  // namespace torch_remote::client
