// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/faults/fault_plan.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace torch_remote::emulator {

FaultPlan::FaultPlan(std::vector<Fault> faults, std::chrono::microseconds reply_delay)
    : faults_(std::move(faults)), reply_delay_(reply_delay), calls_(faults_.size()) {
  for (const Fault& fault : faults_) {
    if (fault.at == 0) throw std::invalid_argument("a fault's place is counted from 1");
  }
}

const Fault* FaultPlan::begin_operation(std::string_view operator_name) {
  ++operations_;
  const Fault* refusing = nullptr;
  for (std::size_t i = 0; i < faults_.size(); ++i) {
    const Fault& fault = faults_[i];
    switch (fault.kind) {
      case Fault::Kind::kFailure:
        if (!fault.operator_name.empty() && fault.operator_name != operator_name) break;
        if (!is_due(i, ++calls_[i])) break;
        note(i);
        if (refusing == nullptr) refusing = &fault;
        break;
      case Fault::Kind::kEnd:
        if (!is_due(i, operations_)) break;
        note(i);
        end_ = fault.message;
        break;
      case Fault::Kind::kCut:
        if (!is_due(i, operations_)) break;
        note(i);
        cut_ = fault.duration;
        break;
      case Fault::Kind::kOutOfMemory:
        break;
    }
  }
  return refusing;
}

const Fault* FaultPlan::begin_allocation() {
  ++allocations_;
  for (std::size_t i = 0; i < faults_.size(); ++i) {
    if (faults_[i].kind != Fault::Kind::kOutOfMemory || !is_due(i, allocations_)) continue;
    note(i);
    return &faults_[i];
  }
  return nullptr;
}

std::optional<std::chrono::milliseconds> FaultPlan::take_cut() {
  return std::exchange(cut_, std::nullopt);
}

bool FaultPlan::is_due(std::size_t index, std::uint64_t count) const {
  return count == faults_[index].at;
}

void FaultPlan::note(std::size_t index) { happened_.push_back(index); }

}  // namespace torch_remote::emulator
