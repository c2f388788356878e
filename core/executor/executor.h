// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What an executor has to be able to do: the seam between the protocol and whatever computes.
// Worker (worker.h) is the only caller. null_executor.cpp is the template for a new one, and
// in_order_executor.h the base of those that have no streams.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/protocol/commands.h"
#include "core/protocol/hello.h"
#include "core/protocol/replies.h"

namespace torch_remote::executor {

using protocol::EventId;
using protocol::TensorId;

// The failure of one operation. Thrown by any method below but those that are noexcept or const;
// whatever else a method throws counts as ErrorKind::kRuntime.
class ExecutorError : public std::runtime_error {
 public:
  ExecutorError(protocol::ErrorKind kind, const std::string& message)
      : std::runtime_error(message), kind_(kind) {}
  protocol::ErrorKind kind() const { return kind_; }

 private:
  protocol::ErrorKind kind_;
};

// One session's storages, plans and generators on one device.
//
// Threads: made, used and destroyed on one thread, the session's. Order: methods are called in the
// order of the client's program; an implementation may run asynchronously as long as the effects
// are those of that order. Ids and numbers come from the client: unknown ones have to be refused
// with ExecutorError, and ranges checked, for the client is not trusted.
class Executor {
 public:
  virtual ~Executor() = default;

  // Keys and texts for the welcome: "executor", "device", "torch_version", ... (docs/PROTOCOL.md).
  virtual std::map<std::string, std::string> describe() const = 0;
  virtual protocol::Limits limits() const { return {}; }
  // How many devices there are to choose from; the hello's device_index has to be below it.
  virtual std::uint32_t device_count() const { return 1; }

  // The operator behind number; schema_hash tells whether both sides mean the same by it. Throws
  // kUnknownOperator when there is none: every plan that names it then fails with that reason.
  virtual void define_operator(std::uint32_t number, std::uint64_t schema_hash,
                               std::string_view name, std::string_view overload) = 0;

  // Replaces what the number stood for before. Nothing but the definition decides what a call does.
  virtual void define_plan(const protocol::PlanDefinition& definition) = 0;

  // Runs a plan. values are as long as call_shape(definition) says. On success every output id in
  // them names a new storage that shares no bytes with another; on failure none does.
  virtual void call(std::uint32_t plan, std::span<const std::byte> values) = 0;

  // The same for a plan that describes its outputs: tensors get the ids first_output_id, + 1, ...
  // in the order in which they are described.
  virtual std::vector<protocol::DescribedOutput> call_and_describe(
      std::uint32_t plan, TensorId first_output_id, std::span<const std::byte> values) = 0;

  virtual void allocate(TensorId id, std::uint64_t size_bytes) = 0;
  virtual void free(
      TensorId id) noexcept = 0;  // an unknown id is no error: its call may have failed

  virtual void write(TensorId id, std::uint64_t offset_bytes, std::span<const std::byte> bytes) = 0;
  virtual void read(TensorId id, std::uint64_t offset_bytes, std::span<std::byte> destination) = 0;

  // Moves a storage to new_id with another size, keeping the bytes that both sizes have.
  virtual void resize(TensorId id, TensorId new_id, std::uint64_t size_bytes) = 0;
  virtual void rename(TensorId id, TensorId new_id) = 0;

  // Generator 0 is the device's default; others come to be when they are first named.
  virtual void seed(std::uint64_t generator, std::uint64_t seed) = 0;
  virtual std::vector<std::byte> generator_state(std::uint64_t generator) = 0;
  virtual void set_generator_state(std::uint64_t generator, std::span<const std::byte> state) = 0;

  // Returns when everything before it has been computed, on all streams.
  virtual void synchronize() = 0;

  // What follows is done in the order of this stream, a number up to protocol::kStreamMax. Two
  // streams know no order but that of events. 0 is the default stream.
  virtual void use_stream(std::uint32_t stream) = 0;
  // The event stands for what the current stream has to do until here. It may be recorded again.
  virtual void record_event(EventId event, bool with_time) = 0;
  // What follows in the current stream waits for the event.
  virtual void wait_event(EventId event) = 0;
  virtual void free_event(EventId event) noexcept = 0;  // an unknown one is no error
  // Whether what the event stands for has been computed.
  virtual bool query_event(EventId event) = 0;
  virtual void synchronize_event(EventId event) = 0;
  // Between two events that were recorded with their time and have been computed.
  virtual double elapsed_time_ms(EventId start, EventId end) = 0;
  // The storage is used by a stream beside the one that it was made in: its memory is not to be
  // used again before that stream has done what it has to do when the storage is freed.
  virtual void record_stream(TensorId id, std::uint32_t stream) = 0;

  // Counters under PyTorch's names (torch.cuda.memory_stats). Where the description names an
  // "allocator", they are the device's, such as "reserved_bytes.all.peak", and "free_bytes",
  // "total_bytes". Elsewhere they are what the session's storages are, as "active.all.current" and
  // "active_bytes.all.current", so that a client can compare; or empty.
  virtual protocol::Numbers memory_statistics() = 0;
  virtual void reset_peak_memory() = 0;
  virtual void empty_cache() = 0;
};

// Makes the executor of a new session, on the session's thread. What it throws is told to the
// client.
using ExecutorFactory = std::function<std::unique_ptr<Executor>(const protocol::Hello&)>;

}  // namespace torch_remote::executor
