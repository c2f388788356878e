// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The counters of an accelerator's allocator, under the names of torch.cuda.memory_stats.
#pragma once

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Device.h>

#include "core/protocol/replies.h"

namespace torch_remote::executor::libtorch {

// Throws c10::Error for a device whose allocator has no statistics.
c10::DeviceAllocator& device_allocator(c10::Device device);

// With "free_bytes" and "total_bytes" of the device, where its allocator can tell them.
protocol::Numbers allocator_statistics(c10::Device device);

}  // namespace torch_remote::executor::libtorch
