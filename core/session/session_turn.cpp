// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a thread does while it holds a turn, and what becomes of storages and failures.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "core/session/errors.h"
#include "core/session/session.h"
#include "core/session/session_replies.h"

namespace torch_remote::session {

TensorId Session::reserve_id(std::uint64_t size_bytes) {
  if (size_bytes > link_.welcome().limits.storage_size_bytes_max) {
    throw std::length_error(
        "a tensor of " + std::to_string(size_bytes) +
        " bytes is larger than the executor accepts (" +
        std::to_string(link_.welcome().limits.storage_size_bytes_max) +
        "); make it smaller or start the executor with a larger --storage-limit");
  }
  return ids_.acquire(size_bytes);
}

void Session::refuse(std::span<const NewStorage> storages) noexcept {
  ++statistics_.refused_storages;
  for (const NewStorage& storage : storages) ids_.release(storage.id);
}

TensorId Session::acquire_storage(std::uint64_t size_bytes, std::uint32_t location) {
  const NewStorage storage{reserve_id(size_bytes), size_bytes};
  if (observer_) {
    try {
      observer_->allocate(storage, stream_, location);
    } catch (...) {
      refuse({&storage, 1});
      throw;
    }
  }
  count_storage(size_bytes);
  return storage.id;
}

void Session::admit_call(std::uint32_t plan, std::uint32_t location,
                         std::span<const std::byte> values, std::span<const NewStorage> outputs) {
  if (observer_) {
    try {
      observer_->call({.plan = plan,
                       .stream = stream_,
                       .location = location,
                       .values = values,
                       .outputs = outputs,
                       .views = std::exchange(views_made, 0)});
    } catch (...) {
      refuse(outputs);
      throw;
    }
  }
  for (const NewStorage& output : outputs) count_storage(output.size_bytes);
}

std::optional<ModelledSpan> Session::last_span() {
  return observer_ ? observer_->last_span() : std::nullopt;
}

std::optional<ModelledSpan> Session::observe(const ObservedCopy& copy) {
  if (observer_) observer_->copy(copy);
  return last_span();
}

void Session::count_storage(std::uint64_t size_bytes) {
  ++statistics_.storages_total;
  statistics_.storages_peak = std::max(statistics_.storages_peak, ++statistics_.storages);
  statistics_.allocated_bytes += size_bytes;
  statistics_.allocated_bytes_total += size_bytes;
  statistics_.allocated_bytes_peak =
      std::max(statistics_.allocated_bytes_peak, statistics_.allocated_bytes);
}

void Session::release_storage(TensorId id, std::uint64_t size_bytes) noexcept {
  if (observer_) observer_->free(id, size_bytes);
  ids_.release(id);
  --statistics_.storages;
  statistics_.allocated_bytes -= size_bytes;
}

// A failure may be read long after its operation has left locations_; it arrives before that.
void Session::keep_location(std::uint64_t operation) {
  if (operation == 0 || operation > statistics_.operations ||
      statistics_.operations - operation >= locations_.size()) {
    return;
  }
  failed_locations_.try_emplace(operation, locations_[operation & (locations_.size() - 1)]);
  if (failed_locations_.size() > kFailuresKeptMax)
    failed_locations_.erase(failed_locations_.begin());
}

std::uint32_t Session::location_of(std::uint64_t operation) const {
  const auto found = failed_locations_.find(operation);
  return found == failed_locations_.end() ? 0 : found->second;
}

namespace {

bool is_same(const Failure& one, const Failure& other) {
  // Failures of what is no operation, a seed or a write, all have the number 0.
  return one.operation == other.operation && (one.operation != 0 || one.message == other.message);
}

}  // namespace

// One that the next synchronize has to tell, though it may have been told before.
void Session::note_unseen(const Failure& failure) {
  const bool known = std::ranges::any_of(
      unseen_failures_, [&](const Failure& unseen) { return is_same(unseen, failure); });
  if (!known && unseen_failures_.size() < kFailuresKeptMax) unseen_failures_.push_back(failure);
}

// A failure that somebody has been told of is not told again by the next synchronize.
void Session::raise(const Failure& failure) {
  std::erase_if(unseen_failures_, [&](const Failure& unseen) { return is_same(unseen, failure); });
  throw OperationError(failure, location_of(failure.operation));
}

void Session::raise_unseen() {
  if (unseen_failures_.empty()) return;
  const Failure first = std::move(unseen_failures_.front());
  unseen_failures_.clear();
  raise(first);
}

Session::Turn::~Turn() {
  if (!lock_.owns_lock() || session_->ended_) return;
  try {
    session_->flush_if_worthwhile();
  } catch (const std::exception& error) {
    session_->end_session(error.what());
  }
}

void Session::Turn::cancel_outputs(std::span<const NewStorage> outputs) noexcept {
  for (const NewStorage& output : outputs) session_->ids_.release(output.id);
}

TensorId Session::Turn::allocate(std::uint64_t size_bytes, std::uint32_t location) {
  const TensorId id = session_->acquire_storage(size_bytes, location);
  session_->batch_.allocate(id, size_bytes);
  return id;
}

void Session::Turn::define_operator(std::uint32_t number, std::uint64_t schema_hash,
                                    std::string_view name, std::string_view overload) {
  if (session_->observer_) session_->observer_->define_operator(number, name, overload);
  session_->batch_.define_operator(number, schema_hash, name, overload);
}

void Session::Turn::define_plan(std::span<const std::byte> definition) {
  ++session_->statistics_.plans;
  if (session_->observer_) {
    protocol::ByteReader reader(definition);
    session_->observer_->define_plan(protocol::get_plan(reader));
  }
  session_->batch_.define_plan(definition);
}

void Session::Turn::count_operation(std::uint32_t location) {
  const std::uint64_t operation = ++session_->statistics_.operations;
  session_->locations_[operation & (session_->locations_.size() - 1)] = location;
  ++session_->batch_operations_;
}

void Session::Turn::call(std::uint32_t plan, std::uint32_t location,
                         std::span<const std::byte> values, std::span<const NewStorage> outputs) {
  session_->admit_call(plan, location, values, outputs);
  count_operation(location);
  std::byte* place = session_->batch_.call(plan, values.size());
  if (!values.empty()) std::memcpy(place, values.data(), values.size());
}

Session::Turn::Described Session::Turn::call_and_describe(std::uint32_t plan,
                                                          std::uint32_t location,
                                                          std::span<const std::byte> values) && {
  session_->admit_call(plan, location, values, {});
  const std::optional<ModelledSpan> span = session_->last_span();
  count_operation(location);
  Lock lock = std::move(lock_);
  Pending pending(*session_);
  const TensorId provisional_id = session_->ids_.acquire_provisional();
  std::byte* place =
      session_->batch_.call_and_describe(plan, pending.token, provisional_id, values.size());
  if (!values.empty()) std::memcpy(place, values.data(), values.size());
  try {
    session_->wait_for_reply(lock, pending);
  } catch (...) {
    if (!pending.done) session_->abandoned_outputs_.emplace(pending.token, provisional_id);
    throw;
  }
  return {.provisional_id = provisional_id, .outputs = std::move(pending.outputs), .span = span};
}

void Session::Turn::resize(TensorId id, TensorId new_id, std::uint64_t size_bytes) {
  if (session_->observer_) session_->observer_->resize(id, new_id, session_->stream_);
  session_->batch_.resize(id, new_id, size_bytes);
}

void Session::Turn::rename(TensorId provisional, TensorId id) {
  session_->batch_.rename(provisional, id);
}

void Session::Turn::discard(TensorId provisional) { session_->batch_.free(provisional); }

void Session::Turn::seed(std::uint64_t generator, std::uint64_t seed) {
  session_->batch_.seed(generator, seed);
}

void Session::Turn::set_generator_state(std::uint64_t generator, std::span<const std::byte> state) {
  session_->batch_.set_generator_state(generator, state);
}

void Session::Turn::record_event(EventId event, bool with_time) {
  if (session_->observer_) session_->observer_->record_event(event, session_->stream_, with_time);
  session_->batch_.record_event(event, with_time);
}

void Session::Turn::wait_event(EventId event) {
  if (session_->observer_) session_->observer_->wait_event(event, session_->stream_);
  session_->batch_.wait_event(event);
}

void Session::Turn::free_event(EventId event) {
  if (session_->observer_) session_->observer_->free_event(event);
  session_->batch_.free_event(event);
}

void Session::Turn::measure(std::span<const EventId> events, std::span<const EventId> completed,
                            std::function<void(std::size_t index, double time_ms)> result) {
  for (const EventId event : completed) {
    session_->batch_.synchronize_event(session_->expect_later({}, [](const Pending&) {}), event);
  }
  const auto shared = std::make_shared<decltype(result)>(std::move(result));
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    if (const auto time_ms = session_->modelled_time_ms(events[i], events[i + 1])) {
      (*shared)(i, *time_ms);
      continue;
    }
    const Token token = session_->expect_later({}, [shared, i](const Pending& pending) {
      const bool known = !pending.failure && pending.outputs.size() == 1;
      (*shared)(i, known ? pending.outputs.front().number : std::nan(""));
    });
    session_->batch_.elapsed_time(token, events[i], events[i + 1]);
  }
}

void Session::Turn::record_stream(TensorId id, std::uint32_t stream) {
  if (session_->observer_) session_->observer_->record_stream(id, stream);
  session_->batch_.record_stream(id, stream);
}

}  // namespace torch_remote::session
