// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Random generators as PyTorch sees them: a handle here, the state on the executor.
#pragma once

#include <ATen/core/Generator.h>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/client/device.h"

namespace torch_remote::client {

// The default generator of a device. The reference stays valid until the process ends.
const at::Generator& default_generator(int device_index);

// A new generator on a device, seeded like a new one of CUDA's.
at::Generator make_remote_generator(int device_index);

// The number under which the executor knows it. Throws c10::Error naming the operator when the
// generator is none of the device's.
std::uint64_t generator_number(const at::Generator& generator, const std::string& operator_name);

// Throws c10::Error when there are more bytes than any state has.
void set_default_generator_state(int device_index, std::span<const std::byte> state);

// A device that was just made starts with the seed that the program has set, if any.
void seed_new_device(int device_index, std::uint64_t seed);

}  // namespace torch_remote::client
