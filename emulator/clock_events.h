// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a model of the allocator knows of streams: by the clocks of the GPUs that share the model.
// An event is done once the program's time, or the executor's behind a network, has reached the
// time at which all is done that its stream had been given. Asking takes no time.
//
// A value; the clocks have to outlive it. Not thread-safe.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <vector>

#include "emulator/allocator/stream_events.h"
#include "emulator/time/clock_group.h"

namespace torch_remote::emulator {

// Numbers of GPUs: their places in the list of a run. 0 governs.
using GpuNumber = std::size_t;

class ClockEvents final : public StreamEvents {
 public:
  explicit ClockEvents(ClockGroup& clocks) : clocks_(&clocks) {}

  // Whose clock answers from now on: 0 before the first call.
  void answer_for(GpuNumber gpu) { answering_ = gpu; }

  Event record(StreamNumber stream) override;
  bool is_done(Event event) override { return is_done_on(event, answering_); }
  // Waits take their time only with apply_waits().
  void synchronize(Event event) override;
  void synchronize_stream(StreamNumber stream) override;
  void synchronize_device() override;

  // The program has waited on these GPUs for what was asked for since the last time, or it hasn't,
  // for the request that made it wait came to nothing.
  void apply_waits(std::span<const GpuNumber> gpus) {
    if (!waits_ns_.empty()) [[unlikely]]
      advance(gpus);
  }
  void drop_waits() { waits_ns_.clear(); }

  // Whether there is any event that isn't done everywhere, as far as anybody looked.
  bool empty() const { return done_ns_.empty(); }
  // Forgets events that are done on all of these GPUs.
  void tidy(std::span<const GpuNumber> gpus);
  void clear();
  // Whether both would say the same of every event now.
  bool agree(GpuNumber one, GpuNumber other) const;

 private:
  using Times = std::vector<Nanoseconds>;  // by GPU

  bool is_done_on(Event event, GpuNumber gpu) const {
    return event < first_ || done_ns_[event - first_][gpu] <= now_ns(gpu);
  }
  Nanoseconds now_ns(GpuNumber gpu) const { return clocks_->clock(gpu).launcher_time_ns(); }
  void advance(std::span<const GpuNumber> gpus);
  template <typename TimeOf>
  void wait_for(TimeOf time_of);

  ClockGroup* clocks_;
  GpuNumber answering_ = 0;
  std::deque<Times> done_ns_;  // of the events from first_ on
  Event first_ = 0;
  Times waits_ns_;  // empty: nobody waited
};

}  // namespace torch_remote::emulator
