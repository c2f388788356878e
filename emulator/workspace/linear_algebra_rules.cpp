// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Linear algebra by cuSOLVER and cuBLAS, and cuFFT.
#include <span>

#include "emulator/workspace/memory_rules.h"

namespace torch_remote::emulator {

std::span<const NamedRule> linear_algebra_rules() { return {}; }

}  // namespace torch_remote::emulator
