// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The base of executors that have done a command when its method returns, as a CPU does: every
// stream is then in order with every other, and an event is a point in time that is over.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "core/executor/executor.h"

namespace torch_remote::executor {

// Of one session.
inline constexpr std::size_t kEventCountMax = 65536;

// The same words whatever the executor.
[[noreturn]] void throw_unknown_event(EventId event);
[[noreturn]] void throw_too_many_events();
[[noreturn]] void throw_event_without_time();

class InOrderExecutor : public Executor {
 public:
  void use_stream(std::uint32_t /*stream*/) override {}
  void record_event(EventId event, bool with_time) override;
  void wait_event(EventId event) override;
  void free_event(EventId event) noexcept override;
  bool query_event(EventId event) override;
  void synchronize_event(EventId event) override;
  double elapsed_time_ms(EventId start, EventId end) override;
  void record_stream(TensorId /*id*/, std::uint32_t /*stream*/) override {}
  protocol::Numbers memory_statistics() override { return {}; }
  void reset_peak_memory() override {}
  void empty_cache() override {}

 private:
  using Time = std::chrono::steady_clock::time_point;

  const std::optional<Time>& find(EventId event) const;

  // Without a time where none was asked for.
  std::unordered_map<EventId, std::optional<Time>> events_;
};

}  // namespace torch_remote::executor
