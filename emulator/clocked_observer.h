// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Puts clocks beside an observer that models memory, so that a session has both.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/session/observer.h"
#include "emulator/time/clock_group.h"

namespace torch_remote::emulator {

class ClockedObserver final : public session::SessionObserver {
 public:
  ClockedObserver(std::shared_ptr<session::SessionObserver> memory, ClockGroup clocks)
      : memory_(std::move(memory)), clocks_(std::move(clocks)) {}

  void define_operator(std::uint32_t number, std::string_view name,
                       std::string_view overload) override {
    memory_->define_operator(number, name, overload);
    if (names_.size() <= number) names_.resize(number + 1);
    names_[number] = {std::string(name), std::string(overload)};
  }
  void define_plan(const protocol::PlanDefinition& definition) override {
    memory_->define_plan(definition);
    const auto& [name, overload] = names_.at(definition.operator_number);
    clocks_.define_plan({.name = name, .overload = overload, .plan = definition});
  }

  // What is refused takes no time.
  void call(const session::ObservedCall& call) override {
    memory_->call(call);
    clocks_.call(call);
  }
  void allocate(const session::NewStorage& storage, std::uint32_t stream,
                std::uint32_t location) override {
    memory_->allocate(storage, stream, location);
    clocks_.allocate();
  }
  void free(session::TensorId id, std::uint64_t size_bytes) noexcept override {
    memory_->free(id, size_bytes);
  }
  void resize(session::TensorId id, session::TensorId new_id, std::uint32_t stream) override {
    memory_->resize(id, new_id, stream);
  }
  void copy(const session::ObservedCopy& copy) override {
    memory_->copy(copy);
    clocks_.copy(copy);
  }
  void synchronize() override {
    memory_->synchronize();
    clocks_.synchronize();
  }
  void synchronize_event(session::EventId event) override {
    memory_->synchronize_event(event);
    clocks_.synchronize_event(event);
  }
  void record_event(session::EventId event, std::uint32_t stream, bool with_time) override {
    memory_->record_event(event, stream, with_time);
    clocks_.record_event(event, stream, with_time);
  }
  void wait_event(session::EventId event, std::uint32_t stream) override {
    memory_->wait_event(event, stream);
    clocks_.wait_event(event, stream);
  }
  void free_event(session::EventId event) noexcept override {
    memory_->free_event(event);
    clocks_.free_event(event);
  }
  void record_stream(session::TensorId id, std::uint32_t stream) override {
    memory_->record_stream(id, stream);
  }

  std::optional<bool> query_event(session::EventId event) override {
    return clocks_.query_event(event);
  }
  std::optional<double> elapsed_time_ms(session::EventId start, session::EventId end) override {
    return clocks_.elapsed_time_ms(start, end);
  }
  std::optional<session::ModelledTime> modelled_time() override { return clocks_.modelled_time(); }
  std::optional<session::ModelledSpan> last_span() override { return clocks_.last_span(); }

  std::optional<protocol::Numbers> memory_statistics() override {
    return memory_->memory_statistics();
  }
  void reset_peak_memory() noexcept override { memory_->reset_peak_memory(); }
  void reset_accumulated_memory() noexcept override { memory_->reset_accumulated_memory(); }
  void empty_cache() noexcept override { memory_->empty_cache(); }

  const ClockGroup& clocks() const { return clocks_; }

 private:
  std::shared_ptr<session::SessionObserver> memory_;
  ClockGroup clocks_;
  std::vector<std::pair<std::string, std::string>> names_;  // of operators, by number
};

}  // namespace torch_remote::emulator
