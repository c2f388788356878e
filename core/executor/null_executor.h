// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// An executor that computes nothing: the template for a new one, and the floor of what the client,
// the protocol and the transport cost. Reads give zeros; storages are not even remembered.
#pragma once

#include <cstdint>

#include "core/executor/executor.h"

namespace torch_remote::executor {

ExecutorFactory null_executor_factory(std::uint32_t device_count = 1);

}  // namespace torch_remote::executor
