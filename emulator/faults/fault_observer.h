// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Refuses what a FaultPlan says, in front of the observer that models the device: what is refused,
// that one never sees.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/session/observer.h"
#include "emulator/faults/fault_plan.h"

namespace torch_remote::emulator {

class FaultObserver final : public session::SessionObserver {
 public:
  // inner may be null. device_index is for messages.
  FaultObserver(std::shared_ptr<FaultPlan> plan, std::shared_ptr<session::SessionObserver> inner,
                int device_index);

  const std::shared_ptr<session::SessionObserver>& inner() const { return inner_; }
  const std::shared_ptr<FaultPlan>& plan() const { return plan_; }

  void define_operator(std::uint32_t number, std::string_view name,
                       std::string_view overload) override;
  void define_plan(const protocol::PlanDefinition& definition) override;

  // These throw session::OutOfMemory with CUDA's text, session::OperationError for an operator that
  // fails, and session::SessionLost from the end of the session on.
  void call(const session::ObservedCall& call) override;
  void allocate(const session::NewStorage& storage, std::uint32_t stream,
                std::uint32_t location) override;
  void copy(const session::ObservedCopy& copy) override;
  void synchronize() override;
  void synchronize_event(session::EventId event) override;

  void free(session::TensorId id, std::uint64_t size_bytes) noexcept override;
  void resize(session::TensorId id, session::TensorId new_id, std::uint32_t stream) override;
  void record_event(session::EventId event, std::uint32_t stream, bool with_time) override;
  void wait_event(session::EventId event, std::uint32_t stream) override;
  void free_event(session::EventId event) noexcept override;
  void record_stream(session::TensorId id, std::uint32_t stream) override;
  std::optional<bool> query_event(session::EventId event) override;
  std::optional<double> elapsed_time_ms(session::EventId start, session::EventId end) override;
  std::optional<session::ModelledTime> modelled_time() override;
  std::optional<session::ModelledSpan> last_span() override;
  std::optional<protocol::Numbers> memory_statistics() override;
  void reset_peak_memory() noexcept override;
  bool reset_accumulated_memory() noexcept override;
  void empty_cache() noexcept override;

 private:
  void check_not_ended() const;
  void begin_allocation(std::uint64_t size_bytes);
  std::string out_of_memory_text(std::uint64_t size_bytes);

  std::shared_ptr<FaultPlan> plan_;
  std::shared_ptr<session::SessionObserver> inner_;
  int device_index_;
  std::vector<std::string> operators_;         // names by number
  std::vector<std::uint32_t> plan_operators_;  // operators' numbers by plan
};

// The observer that models the device, whether there are faults in front of it or not.
std::shared_ptr<session::SessionObserver> without_faults(
    const std::shared_ptr<session::SessionObserver>& observer);

}  // namespace torch_remote::emulator
