// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The rules that memory_scripts.cpp chooses from, by the family of operators: each a table of names
// and functions. A rule writes what its operator does on CUDA, beginning with the first allocation;
// outputs that it doesn't mention come last. Names are PyTorch's, without
// "aten::", with an overload or for all of them.
#pragma once

#include <span>
#include <string_view>

#include "emulator/gpu_model.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/library_settings.h"
#include "emulator/workspace/memory_script.h"

namespace torch_remote::emulator::workspace {

struct RuleContext {
  const CallView& call;
  const GpuModel& gpu;
  const LibrarySettings& settings;
};

using MemoryRule = void (*)(const RuleContext&, ScriptWriter&);

struct NamedRule {
  std::string_view name;
  MemoryRule rule;
};

std::span<const NamedRule> matrix_rules();          // cuBLAS and cuBLASLt
std::span<const NamedRule> reduction_rules();       // ATen/native/cuda/Reduce.cuh
std::span<const NamedRule> sorting_rules();         // CUB
std::span<const NamedRule> unique_rules();          // CUB
std::span<const NamedRule> indexing_rules();        // CUB, and index tensors
std::span<const NamedRule> attention_rules();       // cuDNN, FlashAttention, CUTLASS
std::span<const NamedRule> convolution_rules();     // cuDNN
std::span<const NamedRule> recurrent_rules();       // cuDNN
std::span<const NamedRule> normalization_rules();   // layer, group and batch norms, softmax
std::span<const NamedRule> linear_algebra_rules();  // cuSOLVER, cuFFT
std::span<const NamedRule> list_rules();            // operators on lists of tensors

}  // namespace torch_remote::emulator::workspace
