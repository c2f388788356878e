// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/workspace/memory_script.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace torch_remote::emulator {

ScriptFigures figures(const MemoryScript& script) {
  std::vector<std::uint64_t> sizes(script.scratch_count, 0);
  std::uint64_t live_bytes = 0;
  ScriptFigures result;
  for (const ScriptStep& step : script.steps) {
    if (step.kind == ScriptStep::Kind::kAllocate) {
      sizes[step.number] = step.size_bytes;
      live_bytes += step.size_bytes;
    } else if (step.kind == ScriptStep::Kind::kFree) {
      live_bytes -= sizes[step.number];
    }
    result.peak_scratch_bytes = std::max(result.peak_scratch_bytes, live_bytes);
  }
  return result;
}

std::uint32_t ScriptWriter::allocate(std::uint64_t size_bytes) {
  const std::uint32_t number = script_.scratch_count++;
  is_live_.push_back(size_bytes != 0);
  if (size_bytes != 0) {
    script_.steps.push_back(
        {.kind = ScriptStep::Kind::kAllocate, .number = number, .size_bytes = size_bytes});
  }
  return number;
}

void ScriptWriter::free(std::uint32_t scratch) {
  assert(scratch < is_live_.size());
  if (!is_live_[scratch]) return;
  is_live_[scratch] = false;
  script_.steps.push_back({.kind = ScriptStep::Kind::kFree, .number = scratch});
}

void ScriptWriter::output(std::uint32_t number) {
  if (number >= is_written_.size() || is_written_[number]) return;
  is_written_[number] = true;
  script_.steps.push_back({.kind = ScriptStep::Kind::kOutput, .number = number});
}

void ScriptWriter::sized_output(std::uint32_t number, std::uint64_t size_bytes) {
  if (number >= is_written_.size() || is_written_[number]) return;
  is_written_[number] = true;
  script_.steps.push_back(
      {.kind = ScriptStep::Kind::kSizedOutput, .number = number, .size_bytes = size_bytes});
}

void ScriptWriter::outputs() {
  for (std::size_t i = 0; i < is_written_.size(); ++i) output(static_cast<std::uint32_t>(i));
}

void ScriptWriter::keep(KeptWorkspace workspace, std::uint64_t size_bytes) {
  script_.steps.push_back(
      {.kind = ScriptStep::Kind::kKeep, .workspace = workspace, .size_bytes = size_bytes});
}

MemoryScript ScriptWriter::finish() && {
  outputs();
  for (std::size_t i = is_live_.size(); i-- > 0;) free(static_cast<std::uint32_t>(i));
  // The usual case, which callers tell by the empty script: the outputs as planned, in order.
  std::uint32_t next = 0;
  const bool is_plain = std::ranges::all_of(script_.steps, [&](const ScriptStep& step) {
    return step.kind == ScriptStep::Kind::kOutput && step.number == next++;
  });
  if (is_plain) script_.steps.clear();
  return std::move(script_);
}

}  // namespace torch_remote::emulator
