// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What an executor has to be able to do: the seam between the protocol and whatever computes.
// Worker (worker.h) is the only caller. null_executor.cpp is the template for a new one.
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

using protocol::TensorId;

// The failure of one operation. Thrown by any method below but free() and describe(); whatever else
// a method throws counts as ErrorKind::kRuntime.
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

  // Returns when everything before it has been computed.
  virtual void synchronize() = 0;
};

// Makes the executor of a new session, on the session's thread. What it throws is told to the
// client.
using ExecutorFactory = std::function<std::unique_ptr<Executor>(const protocol::Hello&)>;

}  // namespace torch_remote::executor
