// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Operators on lists of tensors: ATen/native/cuda/ForeachReduceOp.cu. Optimizers, fused or not, and
// the unscaling of gradients take nothing beside their results.
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "core/protocol/tensor_layout.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/memory_rules.h"
#include "emulator/workspace/memory_script.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::TensorLayout;

// A partial result for each 65536 elements of the longest tensor, for each tensor.
void reduce_each(const RuleContext& context, ScriptWriter& script) {
  constexpr std::uint64_t kChunkElements = 65536;
  const auto tensors = context.call.tensors(0);
  std::uint64_t chunks = 0, item_bytes = 0;
  for (const TensorLayout* tensor : tensors) {
    chunks = std::max(chunks, divide_up(element_count(*tensor), kChunkElements));
    item_bytes = std::max(item_bytes, accumulation_size_bytes(tensor->dtype));
  }
  const std::uint32_t parts = script.allocate(tensors.size() * chunks * item_bytes);
  script.outputs();
  script.free(parts);
}

constexpr std::array kRules = std::to_array<NamedRule>({
    {"_foreach_norm", reduce_each},
    {"_foreach_max", reduce_each},
});

}  // namespace

std::span<const NamedRule> list_rules() { return kRules; }

}  // namespace torch_remote::emulator::workspace
