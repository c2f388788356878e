// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a session asks of the executor beside tensors: events, generators, memory.
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "core/protocol/bytes.h"
#include "core/session/session.h"
#include "core/session/session_replies.h"

namespace torch_remote::session {

using protocol::DescribedOutput;

// Appends a command with the token of pending, and waits for its answer.
template <typename Append>
void Session::request(Pending& pending, Lock& lock, Append append) {
  check_alive();
  append(pending.token);
  wait_for_reply(lock, pending);
}

// For what no session needs any more once it has ended.
template <typename Append>
void Session::append_quietly(Append append) noexcept {
  const Lock lock(mutex_);
  if (ended_) return;
  try {
    append();
    flush_if_worthwhile();
  } catch (const std::exception& error) {
    end_session(error.what());
  }
}

namespace {

const DescribedOutput& only_output(const std::vector<DescribedOutput>& outputs,
                                   DescribedOutput::Kind kind) {
  if (outputs.size() != 1 || outputs.front().kind != kind)
    throw protocol::ProtocolError("an event was answered by something else");
  return outputs.front();
}

}  // namespace

void Session::free_event(EventId event) noexcept {
  append_quietly([&] {
    if (observer_) observer_->free_event(event);
    batch_.free_event(event);
  });
}

bool Session::query_event(EventId event) {
  Lock lock(mutex_);
  const std::optional<bool> modelled = observer_ ? observer_->query_event(event) : std::nullopt;
  if (modelled && !*modelled) return false;
  if (modelled) {
    // What has passed by the model's clock has to be there for the program.
    Pending pending(*this);
    request(pending, lock, [&](Token token) { batch_.synchronize_event(token, event); });
    return true;
  }
  Pending pending(*this);
  request(pending, lock, [&](Token token) { batch_.query_event(token, event); });
  return only_output(pending.outputs, DescribedOutput::Kind::kBoolean).integer != 0;
}

void Session::synchronize_event(EventId event) {
  Lock lock(mutex_);
  if (observer_) observer_->synchronize_event(event);
  Pending pending(*this);
  request(pending, lock, [&](Token token) { batch_.synchronize_event(token, event); });
  raise_unseen();
}

std::optional<double> Session::modelled_time_ms(EventId start, EventId end) {
  return observer_ ? observer_->elapsed_time_ms(start, end) : std::nullopt;
}

double Session::elapsed_time_ms(EventId start, EventId end) {
  Lock lock(mutex_);
  if (const auto time_ms = modelled_time_ms(start, end)) return *time_ms;
  Pending pending(*this);
  request(pending, lock, [&](Token token) { batch_.elapsed_time(token, start, end); });
  return only_output(pending.outputs, DescribedOutput::Kind::kDouble).number;
}

std::vector<std::byte> Session::generator_state(std::uint64_t generator) {
  Lock lock(mutex_);
  Pending pending(*this);
  request(pending, lock, [&](Token token) { batch_.get_generator_state(token, generator); });
  return std::move(pending.state);
}

protocol::Numbers Session::memory_statistics() {
  Lock lock(mutex_);
  Pending pending(*this);
  request(pending, lock, [&](Token token) { batch_.get_memory_statistics(token); });
  return std::move(pending.numbers);
}

std::optional<protocol::Numbers> Session::modelled_memory_statistics() {
  const Lock lock(mutex_);
  return observer_ ? observer_->memory_statistics() : std::nullopt;
}

std::optional<ModelledTime> Session::modelled_time() {
  const Lock lock(mutex_);
  return observer_ ? observer_->modelled_time() : std::nullopt;
}

bool Session::reset_accumulated_memory() {
  const Lock lock(mutex_);
  return observer_ && observer_->reset_accumulated_memory();
}

void Session::reset_peak() {
  append_quietly([this] {
    if (observer_) observer_->reset_peak_memory();
    batch_.reset_peak_memory();
    statistics_.allocated_bytes_peak = statistics_.allocated_bytes;
    statistics_.storages_peak = statistics_.storages;
  });
}

void Session::empty_cache() {
  append_quietly([this] {
    if (observer_) observer_->empty_cache();
    batch_.empty_cache();
  });
}

}  // namespace torch_remote::session
