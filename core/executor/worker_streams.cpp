// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A worker's commands for streams, events and memory. A failure here marks no storage.
#include <cstdint>
#include <exception>
#include <optional>
#include <span>

#include "core/executor/worker.h"
#include "core/executor/worker_attempt.h"

namespace torch_remote::executor {

using protocol::DescribedOutput;
using protocol::Token;

void Worker::use_stream(std::uint32_t stream) {
  attempt(std::nullopt, "use stream", [&] { executor_->use_stream(stream); });
}

void Worker::record_event(EventId event, bool with_time) {
  attempt(std::nullopt, "record event", [&] { executor_->record_event(event, with_time); });
}

void Worker::wait_event(EventId event) {
  attempt(std::nullopt, "wait event", [&] { executor_->wait_event(event); });
}

void Worker::free_event(EventId event) { executor_->free_event(event); }

void Worker::query_event(Token token, EventId event) {
  answer(token, "query event", [&] {
    const DescribedOutput done{.kind = DescribedOutput::Kind::kBoolean,
                               .integer = executor_->query_event(event) ? 1 : 0};
    replies_.outputs(token, std::span(&done, 1));
  });
}

void Worker::synchronize_event(Token token, EventId event) {
  answer(token, "synchronize event", [&] {
    executor_->synchronize_event(event);
    replies_.synchronized(token);
  });
}

void Worker::elapsed_time(Token token, EventId start, EventId end) {
  answer(token, "elapsed time", [&] {
    const DescribedOutput time{.kind = DescribedOutput::Kind::kDouble,
                               .number = executor_->elapsed_time_ms(start, end)};
    replies_.outputs(token, std::span(&time, 1));
  });
}

// A storage that failed has no memory that could be used too early.
void Worker::record_stream(TensorId id, std::uint32_t stream) {
  if (failed_.contains(id)) return;
  attempt(std::nullopt, "record stream", [&] { executor_->record_stream(id, stream); });
}

void Worker::get_memory_statistics(Token token) {
  answer(token, "memory statistics",
         [&] { replies_.numbers(token, executor_->memory_statistics()); });
}

void Worker::reset_peak_memory() {
  attempt(std::nullopt, "reset peak memory", [&] { executor_->reset_peak_memory(); });
}

void Worker::empty_cache() {
  attempt(std::nullopt, "empty cache", [&] { executor_->empty_cache(); });
}

}  // namespace torch_remote::executor
