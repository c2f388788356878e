// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Attention that drops what the kernel drops that CUDA would take for it.
#pragma once

#include <string_view>

#include "core/executor/libtorch/substitutions.h"

namespace torch_remote::emulator::random {

// For the operators of attention, by their names with overload; nullptr for all others.
executor::libtorch::SubstituteFunction attention_substitute(std::string_view name);

}  // namespace torch_remote::emulator::random
