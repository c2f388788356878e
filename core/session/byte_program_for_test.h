// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A session on a ByteExecutor (core/executor/byte_executor_for_test.h), with its operators as
// calls.
#pragma once

#include <atomic>
#include <cstring>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "core/executor/byte_executor_for_test.h"
#include "core/executor/in_process.h"
#include "core/session/errors.h"
#include "core/session/session.h"

namespace torch_remote::session {

using Bytes = std::vector<std::byte>;

// Different in every position, so that a shifted or lost piece shows.
inline Bytes pattern(std::size_t size, unsigned first = 0) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>(first + i + (i >> 8) + (i >> 16));
  }
  return bytes;
}

inline std::uint64_t next_session_id() {
  static std::atomic<std::uint64_t> next{0x1000};
  return next++;
}

class ByteProgram {
 public:
  ByteProgram(std::unique_ptr<transport::Channel> channel, const std::string& endpoint,
              std::uint64_t session_id, SessionOptions options = {})
      : session_(std::move(channel), endpoint, session_id, std::move(options)) {
    auto turn = session_.turn();
    for (std::uint32_t i = 0; i < kOperators.size(); ++i) {
      turn.define_operator(i, 0, std::string("test::") + kOperators[i], "");
    }
  }
  // Connects to endpoint in a context of its own.
  explicit ByteProgram(const std::string& endpoint, SessionOptions options = {})
      : ByteProgram(endpoint, next_session_id(), std::move(options)) {}

  Session& session() { return session_; }

  TensorId make(const Bytes& bytes) {
    const TensorId id = session_.turn().allocate(bytes.size());
    session_.write(id, 0, bytes);
    return id;
  }
  TensorId copy(TensorId source, std::uint64_t size, std::uint32_t location = 0) {
    auto turn = session_.turn();
    const TensorId output = turn.reserve_output(size);
    const NewStorage made{.id = output, .size_bytes = size};
    call(turn, "copy", size, {}, {source, output}, location, {&made, 1});
    return output;
  }
  void add(TensorId target, std::uint64_t size, std::uint64_t amount, std::uint32_t location = 0) {
    auto turn = session_.turn();
    call(turn, "add_bytes", size, {}, {target, amount}, location);
  }
  void fail(TensorId target, std::uint64_t size, const std::string& message,
            std::uint32_t location = 0) {
    auto turn = session_.turn();
    call(turn, "fail", size, message, {target}, location);
  }
  Session::Turn::Described describe(TensorId source, std::uint64_t size,
                                    std::uint32_t location = 0) {
    auto turn = session_.turn();
    const std::uint32_t plan = plan_of(turn, "describe", size, {});
    return std::move(turn).call_and_describe(plan, location, std::as_bytes(std::span(&source, 1)));
  }
  Bytes read(TensorId id, std::uint64_t size, std::uint64_t offset = 0) {
    Bytes bytes(size);
    session_.read(id, offset, bytes);
    return bytes;
  }

 private:
  ByteProgram(const std::string& endpoint, std::uint64_t session_id, SessionOptions options)
      : ByteProgram(
            transport::connect_channel(std::make_shared<zmq::context_t>(), endpoint, session_id),
            endpoint, session_id, std::move(options)) {}

  static constexpr std::array kOperators = {"copy", "add_bytes", "fail", "describe"};

  void call(Session::Turn& turn, const std::string& name, std::uint64_t size,
            const std::string& text, const std::vector<std::uint64_t>& values,
            std::uint32_t location, std::span<const NewStorage> outputs = {}) {
    turn.call(plan_of(turn, name, size, text), location, std::as_bytes(std::span(values)), outputs);
  }

  // Under the turn's lock, which also guards plans_.
  std::uint32_t plan_of(Session::Turn& turn, const std::string& name, std::uint64_t size,
                        const std::string& text) {
    using Kind = protocol::ArgumentKind;
    const auto number = static_cast<std::uint32_t>(plans_.size());
    const auto [plan, is_new] = plans_.try_emplace({name, size, text}, number);
    if (!is_new) return plan->second;
    const protocol::TensorLayout layout{.sizes = {static_cast<std::int64_t>(size)}, .strides = {1}};
    const auto found = std::find(kOperators.begin(), kOperators.end(), name);
    const bool writes = name == "add_bytes" || name == "fail";
    protocol::PlanDefinition definition{
        .plan = number,
        .operator_number = static_cast<std::uint32_t>(found - kOperators.begin()),
        .describes_outputs = name == "describe",
        .arguments = {{.kind = Kind::kTensor,
                       .access = writes ? protocol::Access::kWrite : protocol::Access::kRead,
                       .layout = layout}}};
    if (name == "add_bytes") definition.arguments.push_back({.kind = Kind::kVaryingInteger});
    if (name == "fail") {
      const auto kind = static_cast<std::int64_t>(protocol::ErrorKind::kIndex);
      definition.arguments.push_back({.kind = Kind::kInteger, .integer = kind});
      definition.arguments.push_back({.kind = Kind::kString, .text = text});
    }
    if (name == "copy") {
      definition.outputs.push_back({.kind = protocol::OutputKind::kFresh, .layout = layout});
    }
    protocol::ByteWriter writer;
    put_plan(writer, definition);
    turn.define_plan(writer.bytes());
    return number;
  }

  std::map<std::tuple<std::string, std::uint64_t, std::string>, std::uint32_t> plans_;
  Session session_;
};

// The same with its executor in this process.
class InProcessProgram {
 public:
  explicit InProcessProgram(executor::ByteExecutorOptions executor_options = {},
                            SessionOptions options = {})
      : executor_(executor::byte_executor_factory(std::move(executor_options))),
        program_(connect(), executor_.endpoint(), session_id_, std::move(options)) {}
  ByteProgram* operator->() { return &program_; }
  Session& session() { return program_.session(); }

 private:
  std::unique_ptr<transport::Channel> connect() {
    return transport::connect_channel(executor_.context(), executor_.endpoint(), session_id_);
  }
  std::uint64_t session_id_ = next_session_id();
  executor::InProcessExecutor executor_;
  ByteProgram program_;
};

// Something that the executor waits for before each call, until a test opens it.
class Gate {
 public:
  void open() { promise_.set_value(); }
  std::function<void()> waiter() {
    return [future = promise_.get_future().share()] { future.wait(); };
  }

 private:
  std::promise<void> promise_;
};

}  // namespace torch_remote::session
