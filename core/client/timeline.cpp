// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/timeline.h"

#include <c10/util/ApproximateClock.h>
#include <cmath>
#include <exception>
#include <map>
#include <span>
#include <utility>

#include "core/client/streams.h"

namespace torch_remote::client {
namespace {

// An executor keeps 65,536 events of a session, the program's own included. When two blocks of
// marks are alive, the times of the older one are asked for: by then it has long been computed.
constexpr std::size_t kBlockMarks = 4096;

}  // namespace

Timeline::Timeline(Device& device, Source source) : device_(device) {
  if (source == Source::kModelIfThere) {
    if (const auto time = device.session().modelled_time()) {
      modelled_zero_ns_ = std::llround(time->host_us * 1e3);
      return;
    }
  }
  const std::uint32_t stream = current_stream(device.index());
  auto turn = device.session().turn(stream);
  mark(turn, stream);
}

Timeline::~Timeline() {
  if (find_running_device(device_.index()) != &device_) return;
  for (const Mark& mark : waiting_) device_.session().free_event(mark.event);
}

std::size_t Timeline::mark(session::Session::Turn& turn, std::uint32_t stream) {
  const protocol::EventId event = new_event_id();
  turn.record_event(event, /*with_time=*/true);
  waiting_.push_back({event, stream});
  if (waiting_.size() > 2 * kBlockMarks) ask(turn, kBlockMarks);
  return mark_count_++;
}

// Asks for the intervals between the first count + 1 marks that wait, and drops the first count.
// The one behind them stays, as the begin of the next interval.
void Timeline::ask(session::Session::Turn& turn, std::size_t count) {
  std::vector<protocol::EventId> events;
  std::map<std::uint32_t, protocol::EventId> last_of_stream;
  for (const Mark& mark : std::span(waiting_).first(count + 1)) {
    events.push_back(mark.event);
    last_of_stream[mark.stream] = mark.event;
  }
  std::vector<protocol::EventId> completed;
  for (const auto& [stream, event] : last_of_stream) completed.push_back(event);
  turn.measure(events, completed,
               [intervals = intervals_ms_](std::size_t /*index*/, double time_ms) {
                 intervals->push_back(time_ms);
               });
  events.pop_back();
  for (const protocol::EventId event : events) turn.free_event(event);
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
}

void Timeline::calibrate() {
  if (is_modelled()) {
    start_ns_ = c10::getTime();
    return;
  }
  session::Session& session = device_.session();
  session.settle();
  const std::int64_t before_ns = c10::getTime();
  std::size_t mark_now = 0;
  {
    const std::uint32_t stream = current_stream(device_.index());
    auto turn = session.turn(stream);
    mark_now = mark(turn, stream);
  }
  session.settle();
  // The event was recorded between the two; the middle is wrong by half a round trip at most.
  const std::int64_t middle_ns = before_ns + (c10::getTime() - before_ns) / 2;
  start_ns_ = middle_ns - times_ns().at(mark_now).value_or(0);
}

std::vector<std::optional<std::int64_t>> Timeline::times_ns() {
  if (is_modelled()) return {};
  session::Session& session = device_.session();
  {
    auto turn = session.turn();
    if (waiting_.size() > 1) ask(turn, waiting_.size() - 1);
  }
  session.settle();
  const auto turn = session.turn();  // replies for other threads' marks may come any time
  std::vector<std::optional<std::int64_t>> times{0};
  double time_ms = 0;
  for (const double interval_ms : *intervals_ms_) {
    time_ms += interval_ms;  // NaN from the first on that is not known
    times.push_back(std::isnan(time_ms) ? std::nullopt
                                        : std::optional(std::llround(time_ms * 1e6)));
  }
  return times;
}

}  // namespace torch_remote::client
