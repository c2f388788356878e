// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/streams.h"

#include <array>
#include <atomic>
#include <c10/util/Exception.h>
#include <utility>

#include "core/client/errors.h"

namespace torch_remote::client {

using protocol::kStreamsPerPriority;

namespace {

std::atomic<protocol::EventId> next_event_id{1};

// By device and priority.
std::array<std::array<std::atomic<std::uint32_t>, 2>, kDeviceCountMax> taken_streams{};

// PyTorch asks for streams of whatever index its caller gave.
int index_of(const c10::Device& device) {
  const int index = device.index() < 0 ? current_device_index() : device.index();
  TORCH_CHECK_INDEX(index < kDeviceCountMax, "there is no device remote:", index,
                    "; there are at most ", kDeviceCountMax);
  return index;
}

c10::Stream make_stream(c10::Device device, std::uint32_t number) {
  const c10::Device exact(device.type(), static_cast<c10::DeviceIndex>(index_of(device)));
  return c10::Stream(c10::Stream::UNSAFE, exact, static_cast<c10::StreamId>(number));
}

// Of the device that runs under the event's index; none is started for an event.
session::Session& session_of(Event event) {
  Device* device = find_running_device(event.device_index());
  TORCH_CHECK(device != nullptr, "the device of this event, remote:", event.device_index(),
              ", was stopped");
  return device->session();
}

// An event for one question.
class TemporaryEvent {
 public:
  explicit TemporaryEvent(const c10::Stream& stream)
      : event_(record_event(nullptr, stream, /*with_time=*/false)) {}
  TemporaryEvent(const TemporaryEvent&) = delete;
  TemporaryEvent& operator=(const TemporaryEvent&) = delete;
  ~TemporaryEvent() { free_event(event_); }

  Event get() const { return event_; }

 private:
  Event event_;
};

}  // namespace

c10::Stream current_stream_of(c10::Device device) {
  return make_stream(device, current_stream(index_of(device)));
}

c10::Stream exchange_stream(c10::Stream stream) {
  const auto index = static_cast<std::size_t>(index_of(stream.device()));
  return make_stream(stream.device(), std::exchange(current_streams.at(index), number_of(stream)));
}

c10::Stream next_stream(c10::Device device, bool is_high_priority) {
  const auto index = static_cast<std::size_t>(index_of(device));
  const std::uint32_t taken = taken_streams[index][is_high_priority ? 1 : 0]++;
  const std::uint32_t first = is_high_priority ? 1 + kStreamsPerPriority : 1;
  return make_stream(device, first + taken % kStreamsPerPriority);
}

std::uint32_t number_of(const c10::Stream& stream) {
  TORCH_CHECK_VALUE(stream.id() >= 0 && stream.id() <= protocol::kStreamMax, "there is no stream ",
                    stream.id(), " of ", stream.device());
  return static_cast<std::uint32_t>(stream.id());
}

void synchronize_stream(const c10::Stream& stream) {
  synchronize_event(TemporaryEvent(stream).get());
}

bool query_stream(const c10::Stream& stream) { return query_event(TemporaryEvent(stream).get()); }

void record_storage(std::uint64_t id, const c10::Device& where, const c10::Stream& stream) {
  Device& device = device_of(stream.device());
  TORCH_CHECK(index_of(where) == device.index(), "a tensor on ", where,
              " can't be used by a stream of ", stream.device());
  with_torch_errors(device.index(),
                    [&] { device.session().turn().record_stream(id, number_of(stream)); });
}

// ---- events ----

protocol::EventId new_event_id() { return next_event_id++; }

Event::Event(const void* kept) : bits_(reinterpret_cast<std::uintptr_t>(kept)) {}

void* Event::kept() const {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(bits_));  // NOLINT: a number
}

Event record_event(const void* kept, const c10::Stream& stream, bool with_time) {
  Device& device = device_of(stream.device());
  const Event event = kept == nullptr ? Event(device.index(), new_event_id()) : Event(kept);
  TORCH_CHECK(event.device_index() == device.index(), "an event of remote:", event.device_index(),
              " can't be recorded in a stream of remote:", device.index());
  with_torch_errors(device.index(), [&] {
    device.session().turn(number_of(stream)).record_event(event.id(), with_time);
  });
  return event;
}

void wait_event(Event event, const c10::Stream& stream) {
  Device& device = device_of(stream.device());
  // Two machines have no order between them but the program's: it waits itself.
  if (event.device_index() != device.index()) return synchronize_event(event);
  with_torch_errors(device.index(),
                    [&] { device.session().turn(number_of(stream)).wait_event(event.id()); });
}

bool query_event(Event event) {
  return with_torch_errors(event.device_index(),
                           [&] { return session_of(event).query_event(event.id()); });
}

void synchronize_event(Event event) {
  with_torch_errors(event.device_index(), [&] { session_of(event).synchronize_event(event.id()); });
}

double elapsed_time_ms(Event start, Event end) {
  TORCH_CHECK(start.device_index() == end.device_index(),
              "there is no common time of remote:", start.device_index(),
              " and remote:", end.device_index());
  return with_torch_errors(start.device_index(),
                           [&] { return session_of(start).elapsed_time_ms(start.id(), end.id()); });
}

void free_event(Event event) noexcept {
  Device* device = find_running_device(event.device_index());
  if (device != nullptr) device->session().free_event(event.id());
}

}  // namespace torch_remote::client
