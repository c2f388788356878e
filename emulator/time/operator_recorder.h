// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Remembers which operators a program runs, so that they can be timed afterwards, for several GPUs
// and with other parameters: what calibration and benchmarks evaluate the model with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/session/observer.h"
#include "emulator/time/operator_time.h"

namespace torch_remote::emulator {

// A session's observer. Its other methods belong to whoever keeps it, while no command is on its
// way.
class OperatorRecorder final : public session::SessionObserver {
 public:
  struct Operator {
    std::string name;
    std::string overload;
    protocol::PlanDefinition plan;
  };
  // How often an operator was called, by its index in operators().
  using Calls = std::map<std::size_t, std::uint64_t>;

  void define_operator(std::uint32_t number, std::string_view name,
                       std::string_view overload) override;
  void define_plan(const protocol::PlanDefinition& definition) override;
  void call(const session::ObservedCall& call) override;
  void allocate(const session::NewStorage&, std::uint32_t, std::uint32_t) override {}
  void free(session::TensorId, std::uint64_t) noexcept override {}

  // The calls since the last take.
  Calls take() { return std::exchange(calls_, {}); }
  // Adds an operator that no session called; its index.
  std::size_t add(Operator recorded);
  const std::vector<Operator>& operators() const { return operators_; }

 private:
  std::map<std::uint32_t, std::pair<std::string, std::string>> names_;
  std::map<std::uint32_t, std::size_t> plans_;  // indices of operators_ by the plan's number
  std::vector<Operator> operators_;
  Calls calls_;
};

}  // namespace torch_remote::emulator
