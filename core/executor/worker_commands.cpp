// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a worker does with each command, and how it follows failures; worker.cpp brings the
// messages.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/executor/worker.h"
#include "core/executor/worker_attempt.h"
#include "core/protocol/bytes.h"

namespace torch_remote::executor {

using protocol::ErrorKind;
using protocol::Failure;
using protocol::ProtocolError;
using protocol::Token;

namespace {

constexpr std::size_t kInlineSizeBytesMax = 16 * 1024;
constexpr std::size_t kReplySizeBytesMax = 8u
                                           << 20;  // replies go out early when they get this long

TensorId id_at(std::span<const std::byte> values, std::uint32_t position) {
  TensorId id;
  std::memcpy(&id, values.data() + position, sizeof(id));
  return id;
}

}  // namespace

void Worker::define_operator(std::uint32_t number, std::uint64_t schema_hash, std::string_view name,
                             std::string_view overload) {
  if (number >= operators_.size()) throw ProtocolError("operator number beyond the limit");
  Operator& entry = operators_[number];
  entry.name =
      overload.empty() ? std::string(name) : std::string(name) + "." + std::string(overload);
  entry.failure = nullptr;
  try {
    executor_->define_operator(number, schema_hash, name, overload);
  } catch (const ProtocolError&) {
    throw;
  } catch (const std::exception&) {
    Failure failure = *current_failure(nullptr);
    failure.operator_name = entry.name;
    entry.failure = std::make_shared<const Failure>(std::move(failure));
  }
}

void Worker::define_plan(protocol::PlanDefinition definition) {
  if (definition.plan >= plans_.size()) throw ProtocolError("plan number beyond the limit");
  if (definition.operator_number >= operators_.size() ||
      operators_[definition.operator_number].name.empty()) {
    throw ProtocolError("a plan names an operator that was not defined");
  }
  Plan& plan = plans_[definition.plan].emplace();
  plan.shape = protocol::call_shape(definition);
  plan.operator_number = definition.operator_number;
  plan.describes_outputs = definition.describes_outputs;
  plan.failure = operators_[definition.operator_number].failure;
  if (plan.failure) return;
  try {
    executor_->define_plan(definition);
  } catch (const ProtocolError&) {
    throw;
  } catch (const std::exception&) {
    plan.failure = current_failure(&plan);
  }
}

void Worker::call(std::uint32_t number, std::span<const std::byte> values) {
  if (*abandoned_) [[unlikely]]
    return;
  ++operation_;
  const Plan& plan = plan_of(number, values, /*describes=*/false);
  if (!failed_.empty()) {
    if (const SharedFailure inherited = inherited_failure(plan, values)) {
      return mark_results(plan, values, inherited);
    }
  }
  try {
    if (!plan.failure) return executor_->call(number, values);
  } catch (const ProtocolError&) {
    throw;
  } catch (const std::exception&) {
    const SharedFailure failure = current_failure(&plan);
    mark_results(plan, values, failure);
    return replies_.failure(*failure);
  }
  Failure failure = *plan.failure;
  failure.operation = operation_;
  replies_.failure(failure);
  mark_results(plan, values, std::make_shared<const Failure>(std::move(failure)));
}

void Worker::call_and_describe(std::uint32_t number, Token token, TensorId first_output_id,
                               std::span<const std::byte> values) {
  if (*abandoned_) [[unlikely]]
    return;
  ++operation_;
  const Plan& plan = plan_of(number, values, /*describes=*/true);
  SharedFailure failure = inherited_failure(plan, values);
  try {
    if (!failure && !plan.failure) {
      return replies_.outputs(token, executor_->call_and_describe(number, first_output_id, values));
    }
  } catch (const ProtocolError&) {
    throw;
  } catch (const std::exception&) {
    failure = current_failure(&plan);
  }
  if (!failure) {
    Failure of_plan = *plan.failure;
    of_plan.operation = operation_;
    failure = std::make_shared<const Failure>(std::move(of_plan));
  }
  mark_results(plan, values, failure);
  replies_.failed(token, *failure);
}

void Worker::allocate(TensorId id, std::uint64_t size_bytes) {
  attempt(id, "allocate", [&] {
    check_storage_size(size_bytes);
    executor_->allocate(id, size_bytes);
  });
}

void Worker::check_storage_size(std::uint64_t size_bytes) const {
  if (size_bytes > limits_.storage_size_bytes_max) {
    throw ExecutorError(ErrorKind::kValue, "storage is larger than the executor's limit");
  }
}

void Worker::free(TensorId id) {
  if (!failed_.empty()) failed_.erase(id);
  executor_->free(id);
}

void Worker::write(TensorId id, std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  attempt(id, "write", [&] { executor_->write(id, offset_bytes, bytes); });
}

void Worker::write_frames(TensorId id, std::uint64_t offset_bytes, std::uint64_t size_bytes,
                          std::uint32_t frames) {
  if (frames > message_->payload_count() - next_payload_)
    throw ProtocolError("a payload frame is missing");
  std::uint64_t position = 0;
  for (std::uint32_t i = 0; i < frames; ++i) {
    const auto frame = message_->payload(next_payload_++);
    if (frame.size() > size_bytes - position) throw ProtocolError("payload frames are too long");
    attempt(id, "write", [&] { executor_->write(id, offset_bytes + position, frame); });
    position += frame.size();
  }
  if (position != size_bytes) throw ProtocolError("payload frames are too short");
}

void Worker::read(Token token, TensorId id, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  if (size_bytes > protocol::kPayloadFramesMax * protocol::kPayloadFrameSizeBytes) {
    throw ProtocolError("a read is longer than a message can answer");
  }
  if (const auto found = failed_.find(id); found != failed_.end()) {
    return replies_.failed(token, *found->second);
  }
  try {
    read_frames(token, id, offset_bytes, size_bytes);
  } catch (const std::exception&) {
    fail_reply(token, "read");
  }
}

// The bytes are read before anything is written to the reply, so that a failure leaves it whole.
void Worker::read_frames(Token token, TensorId id, std::uint64_t offset_bytes,
                         std::uint64_t size_bytes) {
  if (size_bytes <= kInlineSizeBytesMax) {
    std::byte buffer[kInlineSizeBytesMax];
    const std::span<std::byte> bytes(buffer, size_bytes);
    executor_->read(id, offset_bytes, bytes);
    replies_.bytes(token, bytes);
    if (replies_.size_bytes() > kReplySizeBytesMax) send_replies();
    return;
  }
  std::vector<zmq::message_t> frames;
  for (std::uint64_t done = 0; done < size_bytes;) {
    zmq::message_t frame(
        std::min<std::uint64_t>(size_bytes - done, protocol::kPayloadFrameSizeBytes));
    executor_->read(id, offset_bytes + done, {frame.data<std::byte>(), frame.size()});
    done += frame.size();
    frames.push_back(std::move(frame));
  }
  if (reply_payload_.size() + frames.size() > protocol::kPayloadFramesMax) send_replies();
  replies_.byte_frames(token, size_bytes, static_cast<std::uint32_t>(frames.size()));
  for (auto& frame : frames) reply_payload_.push_back(std::move(frame));
  reply_payload_size_bytes_ += size_bytes;
  if (reply_payload_size_bytes_ > kReplySizeBytesMax) send_replies();
}

void Worker::resize(TensorId id, TensorId new_id, std::uint64_t size_bytes) {
  if (move_failure(id, new_id)) return executor_->free(id);
  attempt(new_id, "resize", [&] {
    check_storage_size(size_bytes);
    executor_->resize(id, new_id, size_bytes);
  });
  // The client knows the storage by its new id alone from here on.
  if (!failed_.empty() && failed_.contains(new_id)) executor_->free(id);
}

void Worker::rename(TensorId id, TensorId new_id) {
  if (move_failure(id, new_id)) return executor_->free(id);
  attempt(new_id, "rename", [&] { executor_->rename(id, new_id); });
}

void Worker::seed(std::uint64_t generator, std::uint64_t seed) {
  attempt(std::nullopt, "seed", [&] { executor_->seed(generator, seed); });
}

void Worker::get_generator_state(Token token, std::uint64_t generator) {
  answer(token, "generator state",
         [&] { replies_.generator_state(token, executor_->generator_state(generator)); });
}

void Worker::set_generator_state(std::uint64_t generator, std::span<const std::byte> state) {
  attempt(std::nullopt, "set generator state",
          [&] { executor_->set_generator_state(generator, state); });
}

void Worker::synchronize(Token token) {
  answer(token, "synchronize", [&] {
    executor_->synchronize();
    replies_.synchronized(token);
  });
}

// ---- failures ----

const Worker::Plan& Worker::plan_of(std::uint32_t number, std::span<const std::byte> values,
                                    bool describes) const {
  if (number >= plans_.size() || !plans_[number])
    throw ProtocolError("a call names a plan that was not defined");
  const Plan& plan = *plans_[number];
  if (plan.shape.values_size_bytes != values.size() || plan.describes_outputs != describes) {
    throw ProtocolError("a call does not fit its plan");
  }
  return plan;
}

Worker::SharedFailure Worker::inherited_failure(const Plan& plan,
                                                std::span<const std::byte> values) const {
  if (failed_.empty()) return nullptr;
  for (const auto* positions : {&plan.shape.read_id_positions, &plan.shape.written_id_positions}) {
    for (const std::uint32_t position : *positions) {
      const auto found = failed_.find(id_at(values, position));
      if (found != failed_.end()) return found->second;
    }
  }
  return nullptr;
}

void Worker::mark_results(const Plan& plan, std::span<const std::byte> values,
                          const SharedFailure& failure) {
  for (const auto* positions :
       {&plan.shape.written_id_positions, &plan.shape.output_id_positions}) {
    for (const std::uint32_t position : *positions) failed_[id_at(values, position)] = failure;
  }
}

// The failure that the exception now being handled means. plan is null where it was no call.
Worker::SharedFailure Worker::current_failure(const Plan* plan) const {
  Failure failure;
  failure.operation = plan != nullptr ? operation_ : 0;
  if (plan != nullptr) failure.operator_name = operators_[plan->operator_number].name;
  try {
    throw;
  } catch (const ExecutorError& error) {
    failure.kind = error.kind();
    failure.message = error.what();
  } catch (const std::bad_alloc&) {
    failure.kind = ErrorKind::kOutOfMemory;
    failure.message = "the executor is out of memory";
  } catch (const std::exception& error) {
    failure.message = error.what();
  }
  return std::make_shared<const Failure>(std::move(failure));
}

// A storage that failed keeps its failure under another id. False when it did not fail.
bool Worker::move_failure(TensorId id, TensorId new_id) {
  auto entry = failed_.extract(id);
  if (entry.empty()) return false;
  entry.key() = new_id;
  failed_.insert(std::move(entry));
  return true;
}

// Within a handler, as current_failure().
void Worker::fail_reply(Token token, const char* what) {
  Failure failure = *current_failure(nullptr);
  failure.operator_name = what;
  replies_.failed(token, failure);
}

}  // namespace torch_remote::executor
