// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/clock_group.h"

#include <stdexcept>

namespace torch_remote::emulator {

ClockGroup::ClockGroup(std::span<const GpuModel> gpus, const ClockOptions& options)
    : gpus_(gpus.begin(), gpus.end()), options_(options) {
  if (gpus_.empty()) throw std::invalid_argument("a group of clocks needs a GPU");
  for (const GpuModel& gpu : gpus_)
    clocks_.emplace_back(clock_costs(launch_costs(gpu)), options_.network);
}

void ClockGroup::define_plan(const PlannedOperator& planned, const PrecisionSettings& precision) {
  const std::size_t first = planned.plan.plan * clocks_.size();
  if (costs_.size() < first + clocks_.size()) costs_.resize(first + clocks_.size());
  for (std::size_t i = 0; i < clocks_.size(); ++i)
    costs_[first + i] = operation_cost(operator_time(planned, gpus_[i], precision));
}

void ClockGroup::allocate() {
  for (Clock& clock : clocks_) clock.allocate();
}

void ClockGroup::copy(const session::ObservedCopy& copy) {
  const LinkCopy link{.size_bytes = copy.size_bytes,
                      .is_to_device = copy.is_to_device,
                      .is_pinned = copy.is_pinned,
                      .is_blocking = copy.is_blocking};
  for (Clock& clock : clocks_) clock.copy(copy.stream, link);
}

void ClockGroup::synchronize() {
  for (Clock& clock : clocks_) clock.synchronize();
}

void ClockGroup::synchronize_event(session::EventId event) {
  for (Clock& clock : clocks_) clock.synchronize_event(event);
}

void ClockGroup::record_event(session::EventId event, std::uint32_t stream, bool with_time) {
  for (Clock& clock : clocks_) clock.record_event(event, stream, with_time);
}

void ClockGroup::wait_event(session::EventId event, std::uint32_t stream) {
  for (Clock& clock : clocks_) clock.wait_event(event, stream);
}

void ClockGroup::free_event(session::EventId event) noexcept {
  for (Clock& clock : clocks_) clock.free_event(event);
}

std::optional<bool> ClockGroup::query_event(session::EventId event) {
  const std::optional<bool> answer = clocks_.front().query_event(event);
  // On the others the program would have asked more or less often, and gone on as late.
  for (Clock& other : std::span(clocks_).subspan(1)) {
    const std::optional<bool> others = other.query_event(event);
    if (answer.value_or(false) && others && !*others) other.synchronize_event(event);
  }
  return answer;
}

std::optional<double> ClockGroup::elapsed_time_ms(session::EventId start,
                                                  session::EventId end) const {
  return clocks_.front().elapsed_time_ms(start, end);
}

session::ModelledTime ClockGroup::modelled_time() const {
  const Clock& first = clocks_.front();
  return {.host_us = first.host_time_us(),
          .gpu_us = first.gpu_time_us(),
          .gpu_busy_us = first.busy_us()};
}

}  // namespace torch_remote::emulator
