// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/faults/fault_observer.h"

#include <optional>
#include <utility>

#include "core/session/errors.h"
#include "emulator/allocator/out_of_memory.h"

namespace torch_remote::emulator {

FaultObserver::FaultObserver(std::shared_ptr<FaultPlan> plan,
                             std::shared_ptr<session::SessionObserver> inner, int device_index)
    : plan_(std::move(plan)), inner_(std::move(inner)), device_index_(device_index) {}

void FaultObserver::define_operator(std::uint32_t number, std::string_view name,
                                    std::string_view overload) {
  if (operators_.size() <= number) operators_.resize(std::size_t{number} + 1);
  operators_[number] = name;
  if (inner_) inner_->define_operator(number, name, overload);
}

void FaultObserver::define_plan(const protocol::PlanDefinition& definition) {
  if (plan_operators_.size() <= definition.plan) {
    plan_operators_.resize(std::size_t{definition.plan} + 1);
  }
  plan_operators_[definition.plan] = definition.operator_number;
  if (inner_) inner_->define_plan(definition);
}

void FaultObserver::call(const session::ObservedCall& call) {
  if (plan_->started()) {
    check_not_ended();
    const std::string& name = operators_.at(plan_operators_.at(call.plan));
    const Fault* failure = plan_->begin_operation(name);
    check_not_ended();
    if (failure != nullptr) {
      throw session::OperationError(
          {.operation = 0, .operator_name = name, .message = failure->message}, call.location);
    }
    for (const session::NewStorage& output : call.outputs) begin_allocation(output.size_bytes);
  }
  if (inner_) inner_->call(call);
}

void FaultObserver::allocate(const session::NewStorage& storage, std::uint32_t stream,
                             std::uint32_t location) {
  if (plan_->started()) {
    check_not_ended();
    begin_allocation(storage.size_bytes);
  }
  if (inner_) inner_->allocate(storage, stream, location);
}

void FaultObserver::copy(const session::ObservedCopy& copy) {
  check_not_ended();
  if (inner_) inner_->copy(copy);
}

void FaultObserver::synchronize() {
  check_not_ended();
  if (inner_) inner_->synchronize();
}

void FaultObserver::synchronize_event(session::EventId event) {
  check_not_ended();
  if (inner_) inner_->synchronize_event(event);
}

void FaultObserver::check_not_ended() const {
  if (plan_->end()) {
    throw session::SessionLost("the executor ended the session: " + *plan_->end());
  }
}

void FaultObserver::begin_allocation(std::uint64_t size_bytes) {
  // As PyTorch's allocator: nothing is asked for where there is nothing to hold.
  if (size_bytes == 0 || plan_->begin_allocation() == nullptr) return;
  throw session::OutOfMemory(out_of_memory_text(size_bytes));
}

std::string FaultObserver::out_of_memory_text(std::uint64_t size_bytes) {
  std::string text = "CUDA out of memory. Tried to allocate " + format_size(size_bytes) + ". GPU " +
                     std::to_string(device_index_);
  const std::optional<protocol::Numbers> numbers = memory_statistics();
  const auto number = [&numbers](const char* name) -> std::optional<std::uint64_t> {
    if (!numbers) return std::nullopt;
    for (const auto& [known, value] : *numbers) {
      if (known == name) return static_cast<std::uint64_t>(value);
    }
    return std::nullopt;
  };
  if (const auto total = number("total_bytes")) {
    text += " has a total capacity of " + format_size(*total);
    if (const auto free = number("free_bytes"))
      text += " of which " + format_size(*free) + " is free";
  }
  return text + ". This is a fault that was asked for: the program's allocation " +
         std::to_string(plan_->allocations()) + " is refused.";
}

// ---- what only the models are concerned with ----

void FaultObserver::free(session::TensorId id, std::uint64_t size_bytes) noexcept {
  if (inner_) inner_->free(id, size_bytes);
}

void FaultObserver::resize(session::TensorId id, session::TensorId new_id, std::uint32_t stream) {
  if (inner_) inner_->resize(id, new_id, stream);
}

void FaultObserver::record_event(session::EventId event, std::uint32_t stream, bool with_time) {
  if (inner_) inner_->record_event(event, stream, with_time);
}

void FaultObserver::wait_event(session::EventId event, std::uint32_t stream) {
  if (inner_) inner_->wait_event(event, stream);
}

void FaultObserver::free_event(session::EventId event) noexcept {
  if (inner_) inner_->free_event(event);
}

void FaultObserver::record_stream(session::TensorId id, std::uint32_t stream) {
  if (inner_) inner_->record_stream(id, stream);
}

std::optional<bool> FaultObserver::query_event(session::EventId event) {
  return inner_ ? inner_->query_event(event) : std::nullopt;
}

std::optional<double> FaultObserver::elapsed_time_ms(session::EventId start, session::EventId end) {
  return inner_ ? inner_->elapsed_time_ms(start, end) : std::nullopt;
}

std::optional<session::ModelledTime> FaultObserver::modelled_time() {
  return inner_ ? inner_->modelled_time() : std::nullopt;
}

std::optional<session::ModelledSpan> FaultObserver::last_span() {
  return inner_ ? inner_->last_span() : std::nullopt;
}

std::optional<protocol::Numbers> FaultObserver::memory_statistics() {
  return inner_ ? inner_->memory_statistics() : std::nullopt;
}

void FaultObserver::reset_peak_memory() noexcept {
  if (inner_) inner_->reset_peak_memory();
}

bool FaultObserver::reset_accumulated_memory() noexcept {
  return inner_ && inner_->reset_accumulated_memory();
}

void FaultObserver::empty_cache() noexcept {
  if (inner_) inner_->empty_cache();
}

std::shared_ptr<session::SessionObserver> without_faults(
    const std::shared_ptr<session::SessionObserver>& observer) {
  const auto faults = std::dynamic_pointer_cast<FaultObserver>(observer);
  return faults ? faults->inner() : observer;
}

}  // namespace torch_remote::emulator
