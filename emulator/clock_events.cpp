// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/clock_events.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace torch_remote::emulator {

StreamEvents::Event ClockEvents::record(StreamNumber stream) {
  Times done_ns;
  done_ns.reserve(clocks_->size());
  for (GpuNumber gpu = 0; gpu < clocks_->size(); ++gpu)
    done_ns.push_back(clocks_->clock(gpu).stream_end_ns(stream));
  done_ns_.push_back(std::move(done_ns));
  return first_ + done_ns_.size() - 1;
}

template <typename TimeOf>
void ClockEvents::wait_for(TimeOf time_of) {
  waits_ns_.resize(clocks_->size());
  for (GpuNumber gpu = 0; gpu < waits_ns_.size(); ++gpu)
    waits_ns_[gpu] = std::max(waits_ns_[gpu], time_of(gpu));
}

void ClockEvents::synchronize(Event event) {
  if (event < first_) return;
  wait_for([&](GpuNumber gpu) { return done_ns_[event - first_][gpu]; });
}

void ClockEvents::synchronize_stream(StreamNumber stream) {
  wait_for([&](GpuNumber gpu) { return clocks_->clock(gpu).stream_end_ns(stream); });
}

void ClockEvents::synchronize_device() {
  wait_for([&](GpuNumber gpu) { return clocks_->clock(gpu).gpu_end_ns(); });
}

void ClockEvents::advance(std::span<const GpuNumber> gpus) {
  for (const GpuNumber gpu : gpus) clocks_->clock(gpu).wait_until(waits_ns_[gpu]);
  waits_ns_.clear();
}

void ClockEvents::tidy(std::span<const GpuNumber> gpus) {
  const auto is_done_everywhere = [&] {
    return std::ranges::all_of(gpus, [&](GpuNumber gpu) { return is_done_on(first_, gpu); });
  };
  while (!done_ns_.empty() && is_done_everywhere()) {
    done_ns_.pop_front();
    ++first_;
  }
}

void ClockEvents::clear() {
  first_ += done_ns_.size();
  done_ns_.clear();
}

bool ClockEvents::agree(GpuNumber one, GpuNumber other) const {
  for (Event event = first_; event < first_ + done_ns_.size(); ++event) {
    if (is_done_on(event, one) != is_done_on(event, other)) return false;
  }
  return true;
}

}  // namespace torch_remote::emulator
