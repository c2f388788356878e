// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a real card refuses and this machine's CPU would compute: operators that a compute
// capability lacks, and limits of CUDA's kernels. With the texts and kinds of errors that PyTorch
// has for CUDA; each rule names the source of its own.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/protocol/wire.h"
#include "emulator/gpu_model.h"
#include "emulator/planned_operator.h"
#include "emulator/program_settings.h"

namespace torch_remote::emulator {

struct CapabilityRefusal {
  protocol::ErrorKind kind = protocol::ErrorKind::kRuntime;
  std::string message;

  friend bool operator==(const CapabilityRefusal&, const CapabilityRefusal&) = default;
};

// Why the GPU refuses the call; empty where it doesn't, or where no rule knows the operator. A pure
// function.
std::optional<CapabilityRefusal> capability_refusal(const PlannedOperator& planned,
                                                    const GpuModel& gpu,
                                                    const ProgramSettings& settings = {});

// For tables: which operator, what the rule is about, and where its text comes from.
struct CapabilityRuleRow {
  std::string_view operator_name;
  std::string_view about;
  std::string_view source;
};
std::span<const CapabilityRuleRow> capability_rules();

// Whether calls of the plan can be refused, or take another time or other memory, after a change of
// the program's settings.
bool follows_settings(const PlannedOperator& planned);

}  // namespace torch_remote::emulator
