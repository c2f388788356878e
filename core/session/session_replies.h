// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the session's threads wait for, and how a message of replies reaches them. Part of
// session.cpp and its neighbours; nothing else includes it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/protocol/bytes.h"
#include "core/protocol/replies.h"
#include "core/session/session.h"
#include "core/transport/message.h"

namespace torch_remote::session {

using protocol::Failure;
using protocol::Token;
using transport::Message;

inline constexpr std::chrono::milliseconds kSessionWaitSlice{
    100};                                              // how often a wait looks for Ctrl-C
inline constexpr std::size_t kFailuresKeptMax = 4096;  // a program that fails in a loop stays small

// A reply that is expected, known under its token. Lives on the stack of the thread that waits, or
// in later_ where none does.
struct Session::Pending {
  Pending(Session& owner, std::span<std::byte> bytes = {})
      : session(owner), token(owner.next_token_++), destination(bytes) {
    session.pending_.emplace(token, this);
  }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  ~Pending() { session.pending_.erase(token); }  // under the lock, as everything here

  Session& session;
  Token token;
  bool done = false;
  std::span<std::byte> destination;
  std::vector<protocol::DescribedOutput> outputs;
  std::vector<std::byte> state;
  protocol::Numbers numbers;
  std::optional<Failure> failure;
  std::function<void(Pending&)> when_done;  // for those in later_, which it ends
};

// Gives the replies of one message to those who wait for them.
class Session::Replies final : public protocol::ReplyHandler {
 public:
  Replies(Session& session, const Message& message) : session_(session), message_(message) {}

  void failure(Failure failure) override {
    session_.keep_location(failure.operation);
    if (session_.unseen_failures_.size() < kFailuresKeptMax) {
      session_.unseen_failures_.push_back(std::move(failure));
    }
  }
  void bytes(Token token, std::span<const std::byte> bytes) override {
    Pending* pending = finish(token);
    if (pending == nullptr) return;
    check_size(*pending, bytes.size());
    std::ranges::copy(bytes, pending->destination.begin());
    settle(*pending);
  }
  void byte_frames(Token token, std::uint64_t size_bytes, std::uint32_t frames) override {
    Pending* pending = finish(token);
    if (pending != nullptr) check_size(*pending, size_bytes);
    std::uint64_t position = 0;
    for (std::uint32_t i = 0; i < frames; ++i) {
      if (next_frame_ >= message_.payload_count())
        throw protocol::ProtocolError("a payload frame is missing");
      const auto frame = message_.payload(next_frame_++);
      if (frame.size() > size_bytes - position)
        throw protocol::ProtocolError("payload frames are too long");
      if (pending != nullptr) {
        std::ranges::copy(frame, pending->destination.subspan(position).begin());
      }
      position += frame.size();
    }
    if (position != size_bytes) throw protocol::ProtocolError("payload frames are too short");
    if (pending != nullptr) settle(*pending);
  }
  void outputs(Token token, std::vector<protocol::DescribedOutput> outputs) override {
    if (Pending* pending = finish(token)) {
      pending->outputs = std::move(outputs);
      settle(*pending);
      return;
    }
    const auto abandoned = session_.abandoned_outputs_.extract(token);
    if (abandoned.empty()) return;
    TensorId id = abandoned.mapped();
    for (const protocol::DescribedOutput& output : outputs) {
      if (output.kind == protocol::DescribedOutput::Kind::kTensor) session_.batch_.free(id++);
    }
  }
  void generator_state(Token token, std::span<const std::byte> state) override {
    if (Pending* pending = finish(token)) pending->state.assign(state.begin(), state.end());
  }
  void synchronized(Token token) override {
    if (Pending* pending = finish(token)) settle(*pending);
  }
  void failed(Token token, Failure failure) override {
    session_.keep_location(failure.operation);
    session_.abandoned_outputs_.erase(token);
    if (Pending* pending = finish(token)) {
      pending->failure = std::move(failure);
      settle(*pending);
    }
  }
  void numbers(Token token, protocol::Numbers numbers) override {
    if (Pending* pending = finish(token)) pending->numbers = std::move(numbers);
  }

 private:
  // Null when the waiter has given up (Ctrl-C).
  Pending* finish(Token token) {
    const auto found = session_.pending_.find(token);
    if (found == session_.pending_.end()) return nullptr;
    found->second->done = true;
    return found->second;
  }
  // Once all of a reply is where it belongs.
  void settle(Pending& pending) {
    if (!pending.when_done) return;
    pending.when_done(pending);
    session_.later_.erase(pending.token);
  }
  static void check_size(const Pending& pending, std::uint64_t size_bytes) {
    if (pending.destination.size() != size_bytes)
      throw protocol::ProtocolError("a read has another size than asked for");
  }

  Session& session_;
  const Message& message_;
  std::size_t next_frame_ = 0;
};

}  // namespace torch_remote::session
