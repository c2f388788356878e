// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Seeded random programs of allocations: the same steps on every machine, for PyTorch's own
// allocator (pytorch/pytorch_run.cpp) and for the model (model_run_test.cpp).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace torch_remote::emulator::reference {

enum class StepKind : std::uint8_t {
  kAllocate,      // block `id` of `size_bytes` in `stream`
  kFree,          // block `id`, if there is one
  kRecordStream,  // block `id` is used by `stream`, if there is one
  kAdvance,       // `stream` has done what it was given
  kSynchronize,   // all streams have
  kEmptyCache,
  kResetPeak,
  kResetAccumulated,
  kSetFraction,  // to size_bytes / total
  kSetSettings,  // to the program's other settings
};

struct Step {
  StepKind kind = StepKind::kAllocate;
  std::uint32_t id = 0;
  std::uint32_t stream = 0;
  std::uint64_t size_bytes = 0;
};

struct Program {
  std::string settings;
  std::string other_settings;  // for kSetSettings
  std::uint64_t total_bytes = 0;
  std::uint64_t used_bytes = 0;  // by the context
  std::uint32_t stream_count = 1;
  std::vector<Step> steps;
};

Program random_program(std::uint64_t seed);

}  // namespace torch_remote::emulator::reference
