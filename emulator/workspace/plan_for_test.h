// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Builds planned calls for tests of the memory rules.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/protocol/plan.h"
#include "emulator/gpu_model.h"
#include "emulator/planned_operator.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/memory_scripts.h"

namespace torch_remote::emulator::workspace {

inline protocol::TensorLayout contiguous(std::vector<std::int64_t> sizes,
                                         protocol::DataType dtype = kFloat32) {
  std::vector<std::int64_t> strides(sizes.size(), 1);
  for (std::size_t i = sizes.size(); i-- > 1;) strides[i - 1] = strides[i] * sizes[i];
  return {.dtype = dtype, .sizes = std::move(sizes), .strides = std::move(strides)};
}

inline protocol::TensorLayout channels_last(const std::vector<std::int64_t>& sizes,
                                            protocol::DataType dtype = kFloat32) {
  const std::int64_t n = sizes[1], w = sizes[3] * n, h = sizes[2] * w;
  return {.dtype = dtype, .sizes = sizes, .strides = {h, 1, w, n}};
}

class TestCall {
 public:
  explicit TestCall(std::string name, std::string overload = "")
      : name_("aten::" + std::move(name)), overload_(std::move(overload)) {}

  TestCall& tensor(protocol::TensorLayout layout) {
    return add({.kind = protocol::ArgumentKind::kTensor, .layout = std::move(layout)});
  }
  TestCall& none() { return add({.kind = protocol::ArgumentKind::kNone}); }
  TestCall& integer(std::int64_t value) {
    return add({.kind = protocol::ArgumentKind::kInteger, .integer = value});
  }
  TestCall& boolean(bool value) {
    return add({.kind = protocol::ArgumentKind::kBoolean, .flag = value});
  }
  TestCall& integers(std::vector<std::int64_t> values) {
    return add({.kind = protocol::ArgumentKind::kIntegerList, .integers = std::move(values)});
  }
  TestCall& tensors(const std::vector<protocol::TensorLayout>& layouts) {
    protocol::Argument list{.kind = protocol::ArgumentKind::kTensorList};
    for (const auto& layout : layouts)
      list.elements.push_back({.kind = protocol::ArgumentKind::kTensor, .layout = layout});
    return add(std::move(list));
  }
  TestCall& output(protocol::TensorLayout layout) {
    plan_.outputs.push_back({.kind = protocol::OutputKind::kFresh, .layout = std::move(layout)});
    return *this;
  }

  PlannedOperator planned() const { return {name_, overload_, plan_}; }

  // The requested bytes of each allocation and, negative, of each free, as temporaries.jsonl has
  // them; what libraries keep is left out.
  std::vector<std::int64_t> events(const GpuModel& gpu = gpu_model("H100"),
                                   const LibrarySettings& settings = {}) const {
    const PlannedOperator operation = planned();
    const CallView view(operation);
    const MemoryScript script = memory_script(operation, gpu, settings);
    std::vector<std::int64_t> result, sizes(script.scratch_count);
    const auto add_event = [&result](std::uint64_t size_bytes) {
      if (size_bytes != 0) result.push_back(static_cast<std::int64_t>(size_bytes));
    };
    if (script.steps.empty()) {
      for (std::uint32_t i = 0; i < view.output_count(); ++i) add_event(view.output_size_bytes(i));
    }
    for (const ScriptStep& step : script.steps) {
      switch (step.kind) {
        case ScriptStep::Kind::kAllocate:
          sizes[step.number] = static_cast<std::int64_t>(step.size_bytes);
          add_event(step.size_bytes);
          break;
        case ScriptStep::Kind::kFree:
          result.push_back(-sizes[step.number]);
          break;
        case ScriptStep::Kind::kOutput:
          add_event(view.output_size_bytes(step.number));
          break;
        case ScriptStep::Kind::kSizedOutput:
          add_event(step.size_bytes);
          break;
        case ScriptStep::Kind::kKeep:
          break;
      }
    }
    return result;
  }

 private:
  TestCall& add(protocol::Argument argument) {
    plan_.arguments.push_back(std::move(argument));
    return *this;
  }

  std::string name_;
  std::string overload_;
  protocol::PlanDefinition plan_;
};

}  // namespace torch_remote::emulator::workspace
