// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What operators allocate on CUDA beside their outputs, as a pure function of the planned call, the
// GPU, and what the program set. The rules are in the files named *_rules.cpp, by the library that
// takes the memory; an operator without one takes nothing.
//
// Sources: PyTorch's CUDA code for what it allocates itself, and for closed libraries the records
// of an H100 and an H200 (emulator/calibration/measurements). docs/EMULATOR.md says how well it
// fits. Functions are pure and may be called from any thread.
#pragma once

#include "emulator/gpu_model.h"
#include "emulator/planned_operator.h"
#include "emulator/workspace/library_settings.h"
#include "emulator/workspace/memory_script.h"

namespace torch_remote::emulator {

MemoryScript memory_script(const PlannedOperator& planned, const GpuModel& gpu,
                           const LibrarySettings& settings = {});

}  // namespace torch_remote::emulator
