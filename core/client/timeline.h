// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Points in time of a device's work, by the executor's own clock: events, which are recorded along
// with the program and whose times are asked for later. Where time is modelled, the model's clock
// tells them at once: no event is recorded, so a profile changes no time.
#pragma once

#include <c10/core/Device.h>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/client/device.h"
#include "core/session/session.h"

namespace torch_remote::client {

// Of one device. Nothing waits but calibrate() and times_ns(), and neither where time is modelled.
// Thread-safe: what marks hold is
// guarded by the session's lock.
class Timeline {
 public:
  enum class Source : std::uint8_t { kEvents, kModelIfThere };
  // Its first mark is the time 0. Who needs marks takes events, which have modelled times as well.
  explicit Timeline(Device& device, Source source = Source::kEvents);
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;
  ~Timeline();

  Device& device() const { return device_; }
  // Then the times are those of session::ModelledSpan, which begin at modelled_zero_ns(), and
  // there are no marks.
  bool is_modelled() const { return modelled_zero_ns_.has_value(); }
  std::int64_t modelled_zero_ns() const { return *modelled_zero_ns_; }

  // The point that the turn's stream has reached. Turn and stream are the caller's.
  std::size_t mark(session::Session::Turn& turn, std::uint32_t stream);

  // This process's clock (nanoseconds since 1970) at the time 0: the device is idle meanwhile. Two
  // round trips.
  void calibrate();
  std::int64_t start_ns() const { return start_ns_; }

  // Nanoseconds since the time 0 of each mark up to now; none for one that the executor could not
  // tell, and those behind it. One round trip where there are new ones.
  std::vector<std::optional<std::int64_t>> times_ns();

 private:
  struct Mark {
    protocol::EventId event;
    std::uint32_t stream;
  };
  // Milliseconds from each mark to the next. Replies may come after the timeline has gone.
  using Intervals = std::vector<double>;

  void ask(session::Session::Turn& turn, std::size_t count);

  Device& device_;
  std::optional<std::int64_t> modelled_zero_ns_;
  std::int64_t start_ns_ = 0;
  std::size_t mark_count_ = 0;
  std::vector<Mark> waiting_;  // whose intervals were not asked for yet; the last one was the end
  std::shared_ptr<Intervals> intervals_ms_ = std::make_shared<Intervals>();
};

}  // namespace torch_remote::client
