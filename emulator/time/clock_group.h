// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The clocks of several GPUs, on all of which the same program runs. The first one answers the
// program; the others are there to be compared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/session/observer.h"
#include "emulator/gpu_model.h"
#include "emulator/planned_operator.h"
#include "emulator/time/clock.h"
#include "emulator/time/network_model.h"
#include "emulator/time/operator_time.h"

namespace torch_remote::emulator {

struct ClockOptions {
  NetworkOptions network{};
  PrecisionSettings precision{};
};

// To be told what a session's observer (core/session/observer.h) sees, by methods of the same
// names. Not thread-safe.
class ClockGroup {
 public:
  // At least one GPU. Throws std::invalid_argument for a network that can't be.
  explicit ClockGroup(std::span<const GpuModel> gpus, const ClockOptions& options = {});

  // What calls of the plan cost each GPU is found here, once: some microseconds a GPU.
  void define_plan(const PlannedOperator& planned) { define_plan(planned, options_.precision); }
  // By other settings than the group's.
  void define_plan(const PlannedOperator& planned, const PrecisionSettings& precision);
  void call(const session::ObservedCall& call) {
    const OperationCost* cost = costs_.data() + call.plan * clocks_.size();
    // Behind the values there is a command's head.
    const auto size_bytes = static_cast<std::uint32_t>(call.values.size() + 2 * 4);
    for (Clock& clock : clocks_) {
      clock.make_views(call.views);
      clock.launch(call.stream, *cost++, size_bytes);
    }
  }
  void allocate();
  void copy(const session::ObservedCopy& copy);
  void synchronize();
  void synchronize_event(session::EventId event);
  void record_event(session::EventId event, std::uint32_t stream, bool with_time);
  void wait_event(session::EventId event, std::uint32_t stream);
  void free_event(session::EventId event) noexcept;
  std::optional<bool> query_event(session::EventId event);
  std::optional<double> elapsed_time_ms(session::EventId start, session::EventId end) const;
  session::ModelledTime modelled_time() const;
  session::ModelledSpan last_span() const { return clocks_.front().last_span(); }

  // In the order of the GPUs.
  std::size_t size() const { return clocks_.size(); }
  Clock& clock(std::size_t index) { return clocks_[index]; }
  const Clock& clock(std::size_t index) const { return clocks_[index]; }
  // What one call of a plan costs that GPU.
  const OperationCost& cost(std::uint32_t plan, std::size_t index) const {
    return costs_[plan * clocks_.size() + index];
  }

 private:
  std::vector<GpuModel> gpus_;
  ClockOptions options_;
  std::vector<Clock> clocks_;
  std::vector<OperationCost> costs_;  // of a plan, for one GPU after the other
};

}  // namespace torch_remote::emulator
