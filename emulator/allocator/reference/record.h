// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What is kept of a random program's run: after each step a number of 32 bits, made of all
// statistics, of where the block is, and of the error's text; and all statistics at the end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "emulator/allocator/allocator_statistics.h"

namespace torch_remote::emulator::reference {

struct StepResult {
  std::uint64_t address = 0;  // of the block that was allocated
  std::string error;          // the text, where it wasn't
};

std::uint32_t fingerprint(const AllocatorStatistics& statistics, const StepResult& result);

// The numbers of all statistics, in the order of flat_statistics().
std::vector<std::int64_t> numbers_of(const AllocatorStatistics& statistics);

// All of it on one line, to see where two runs part.
std::string describe(const AllocatorStatistics& statistics, const StepResult& result);

}  // namespace torch_remote::emulator::reference
