// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// cuRAND's Poisson numbers, of the numbers of one thread.
#pragma once

#include <cstdint>

#include "emulator/random/philox.h"

namespace torch_remote::emulator::random {

// `rate` is not negative; takes as many numbers as it needs.
std::uint32_t poisson_number(ThreadNumbers& numbers, double rate);

}  // namespace torch_remote::emulator::random
