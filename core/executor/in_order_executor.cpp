// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/in_order_executor.h"

#include <string>

namespace torch_remote::executor {

using protocol::ErrorKind;

void InOrderExecutor::record_event(EventId event, bool with_time) {
  if (events_.size() >= kEventCountMax && !events_.contains(event)) throw_too_many_events();
  std::optional<Time>& time = events_[event];
  time.reset();
  if (with_time) time = std::chrono::steady_clock::now();
}

void InOrderExecutor::wait_event(EventId event) { find(event); }

void InOrderExecutor::free_event(EventId event) noexcept { events_.erase(event); }

bool InOrderExecutor::query_event(EventId event) {
  find(event);
  return true;
}

void InOrderExecutor::synchronize_event(EventId event) { find(event); }

double InOrderExecutor::elapsed_time_ms(EventId start, EventId end) {
  const auto& from = find(start);
  const auto& to = find(end);
  if (!from || !to) throw_event_without_time();
  return std::chrono::duration<double, std::milli>(*to - *from).count();
}

const std::optional<InOrderExecutor::Time>& InOrderExecutor::find(EventId event) const {
  const auto found = events_.find(event);
  if (found == events_.end()) throw_unknown_event(event);
  return found->second;
}

void throw_unknown_event(EventId event) {
  throw ExecutorError(ErrorKind::kValue,
                      "there is no event " + std::to_string(event) + " on the executor");
}

void throw_too_many_events() {
  throw ExecutorError(ErrorKind::kRuntime, "more than " + std::to_string(kEventCountMax) +
                                               " events are alive in one session");
}

void throw_event_without_time() {
  throw ExecutorError(ErrorKind::kValue,
                      "both events have to be recorded with enable_timing=True before the time "
                      "between them can be told");
}

}  // namespace torch_remote::executor
