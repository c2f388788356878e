// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Each thread's current stream of each device, as CUDA has them, and events. A stream is a number
// on the wire; the executor has one of its own for each.
#pragma once

#include <array>
#include <c10/core/Stream.h>
#include <cstddef>
#include <cstdint>

#include "core/client/device.h"
#include "core/protocol/commands.h"

namespace torch_remote::client {

inline constinit thread_local std::array<std::uint32_t, kDeviceCountMax> current_streams{};

// index is a device's.
inline std::uint32_t current_stream(int index) {
  return current_streams[static_cast<std::size_t>(index)];
}

// The right to append commands to the thread's current stream.
inline session::Session::Turn turn_of(Device& device) {
  return device.session().turn(current_stream(device.index()));
}

c10::Stream current_stream_of(c10::Device device);
// Returns the one before.
c10::Stream exchange_stream(c10::Stream stream);
// The next of those of a priority, round and round, as CUDA's pools give theirs.
c10::Stream next_stream(c10::Device device, bool is_high_priority);

std::uint32_t number_of(const c10::Stream& stream);

// Waits until the stream has done what it was given. Throws as synchronize() does.
void synchronize_stream(const c10::Stream& stream);
bool query_stream(const c10::Stream& stream);

// Beside the one that it was made in, a storage of a device is used by this stream, which has to be
// of the same device.
void record_storage(std::uint64_t id, const c10::Device& where, const c10::Stream& stream);

// A number for an event. Never the same twice in a process, so that an event of a stopped device
// can't be taken for one of the device that has its index now.
protocol::EventId new_event_id();

// An event as PyTorch keeps it, in the place of a pointer: never null, never followed. It belongs
// to the device of the stream in which it was recorded first.
class Event {
 public:
  Event(int device_index, protocol::EventId id)
      : bits_(id * kDeviceCountMax + static_cast<std::uint64_t>(device_index)) {}
  explicit Event(const void* kept);
  void* kept() const;

  int device_index() const { return static_cast<int>(bits_ % kDeviceCountMax); }
  protocol::EventId id() const { return bits_ / kDeviceCountMax; }

 private:
  std::uint64_t bits_;
};

Event record_event(const void* kept, const c10::Stream& stream, bool with_time);
void wait_event(Event event, const c10::Stream& stream);
bool query_event(Event event);
void synchronize_event(Event event);
double elapsed_time_ms(Event start, Event end);
void free_event(Event event) noexcept;

}  // namespace torch_remote::client
