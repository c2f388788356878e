// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the allocator asks of a GPU's clock: whether a stream has passed a point. A block that
// another stream used is free once that stream has passed the point where the block was dropped.
#pragma once

#include <cstdint>

#include "emulator/allocator/stream_table.h"

namespace torch_remote::emulator {

class StreamEvents {
 public:
  using Event = std::uint64_t;

  virtual ~StreamEvents() = default;

  // A point after everything that the stream was given so far.
  virtual Event record(StreamNumber stream) = 0;
  virtual bool is_done(Event event) = 0;
  // The program waits until the event is done.
  virtual void synchronize(Event event) = 0;
  virtual void synchronize_stream(StreamNumber stream) = 0;
  // Giving memory back to the device waits for all of it.
  virtual void synchronize_device() = 0;
};

// A clock for whoever has none: streams get ahead only while the program waits for all of them.
class EventsDoneAtSynchronize final : public StreamEvents {
 public:
  Event record(StreamNumber /*stream*/) override { return ++last_; }
  bool is_done(Event event) override { return event <= done_; }
  // The allocator forgets an event that it has waited for.
  void synchronize(Event /*event*/) override {}
  void synchronize_stream(StreamNumber /*stream*/) override {}
  void synchronize_device() override { done_ = last_; }

 private:
  Event last_ = 0;
  Event done_ = 0;
};

}  // namespace torch_remote::emulator
