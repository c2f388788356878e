// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/workspace/memory_scripts.h"

#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "emulator/gpu_model.h"
#include "emulator/planned_operator.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/library_settings.h"
#include "emulator/workspace/memory_rules.h"
#include "emulator/workspace/memory_script.h"

namespace torch_remote::emulator {
namespace {

using workspace::CallView;
using workspace::MemoryRule;
using workspace::NamedRule;
using Rules = std::unordered_map<std::string_view, MemoryRule>;

const Rules& all_rules() {
  static const Rules rules = [] {
    Rules all;
    for (const auto family :
         {workspace::matrix_rules(), workspace::reduction_rules(), workspace::sorting_rules(),
          workspace::unique_rules(), workspace::indexing_rules(), workspace::attention_rules(),
          workspace::convolution_rules(), workspace::recurrent_rules(),
          workspace::normalization_rules(), workspace::linear_algebra_rules(),
          workspace::list_rules()}) {
      for (const NamedRule& named : family) all.emplace(named.name, named.rule);
    }
    return all;
  }();
  return rules;
}

// "sum.dim_IntList" before "sum"; an out= variant as what it is a variant of.
MemoryRule find_rule(const PlannedOperator& planned) {
  constexpr std::string_view kNamespace = "aten::";
  if (!planned.name.starts_with(kNamespace)) return nullptr;
  const std::string name(planned.name.substr(kNamespace.size()));
  const Rules& rules = all_rules();
  if (!planned.overload.empty()) {
    const auto exact = rules.find(name + "." + std::string(planned.overload));
    if (exact != rules.end()) return exact->second;
  }
  const auto found = rules.find(name);
  return found == rules.end() ? nullptr : found->second;
}

}  // namespace

MemoryScript memory_script(const PlannedOperator& planned, const GpuModel& gpu,
                           const LibrarySettings& settings) {
  const MemoryRule rule = find_rule(planned);
  if (rule == nullptr) return {};
  const CallView call(planned);
  ScriptWriter script(call.output_count());
  rule({.call = call, .gpu = gpu, .settings = settings}, script);
  return std::move(script).finish();
}

}  // namespace torch_remote::emulator
