// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/operator_recorder.h"

#include <utility>

namespace torch_remote::emulator {

void OperatorRecorder::define_operator(std::uint32_t number, std::string_view name,
                                       std::string_view overload) {
  names_[number] = {std::string(name), std::string(overload)};
}

void OperatorRecorder::define_plan(const protocol::PlanDefinition& definition) {
  const auto& [name, overload] = names_[definition.operator_number];
  plans_[definition.plan] = operators_.size();
  operators_.push_back({name, overload, definition});
}

std::size_t OperatorRecorder::add(Operator recorded) {
  operators_.push_back(std::move(recorded));
  return operators_.size() - 1;
}

void OperatorRecorder::call(const session::ObservedCall& call) {
  if (const auto plan = plans_.find(call.plan); plan != plans_.end()) ++calls_[plan->second];
}

}  // namespace torch_remote::emulator
