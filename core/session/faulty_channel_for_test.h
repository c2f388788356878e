// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A channel over a bad network: its connection breaks and takes with it what is under way, and what
// is sequenced arrives twice or late. The same seed gives the same faults for the same traffic.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <random>
#include <utility>

#include "core/transport/channel.h"

namespace torch_remote::session {

struct Faults {
  int breaks = 0;
  int dropped = 0;
  int duplicated = 0;
  int delayed = 0;
};

// As with TCP, nothing is lost but with a connection, and control messages keep their order.
class FaultyChannel final : public transport::Channel {
 public:
  FaultyChannel(std::unique_ptr<transport::Channel> inner, unsigned seed, Faults& faults)
      : inner_(std::move(inner)), random_(seed), faults_(faults) {}

  void send(transport::Message& message) override {
    if (message.envelope.kind == protocol::MessageKind::kHello) return inner_->send(message);
    maybe_break();
    if (broken_) return drop();
    const bool sequenced = message.envelope.kind == protocol::MessageKind::kCommands;
    if (sequenced && one_in(10) && !late_out_) {
      ++faults_.delayed;
      late_out_.emplace_back(copy(message), kLateBy);
      has_late_ = true;
      return;
    }
    inner_->send(message);
    if (sequenced && one_in(10)) {
      ++faults_.duplicated;
      inner_->send(message);
    }
  }

  bool receive(transport::Message& message) override {
    release_late();
    while (incoming_.empty()) {
      transport::Message next;
      if (!inner_->receive(next)) break;
      maybe_break();
      if (broken_) {
        drop();
        continue;
      }
      take(std::move(next));
    }
    if (incoming_.empty()) return false;
    message = std::move(incoming_.front());
    incoming_.pop_front();
    return true;
  }

  transport::ConnectionEvent next_event() override {
    if (!broken_) return transport::ConnectionEvent::kNone;
    if (!reported_) {
      reported_ = true;
      return transport::ConnectionEvent::kDisconnected;
    }
    if (looks_until_repaired_-- > 0) return transport::ConnectionEvent::kNone;
    broken_ = false;
    return transport::ConnectionEvent::kConnected;
  }

  // Short while something is to be done by the next receive() or next_event().
  void wait(std::chrono::milliseconds timeout) override {
    inner_->wait(broken_ || has_late_ ? std::chrono::milliseconds(1) : timeout);
  }
  void wake() override { inner_->wake(); }

 private:
  static constexpr int kLateBy = 3;  // calls of receive()

  struct Late {
    transport::Message message;
    int calls_left;
  };
  class Slot {
   public:
    explicit operator bool() const { return full_; }
    void emplace_back(transport::Message message, int calls_left) {
      late_ = {std::move(message), calls_left};
      full_ = true;
    }
    // True once, when it is time.
    bool due(transport::Message& message) {
      if (!full_ || late_.calls_left-- > 0) return false;
      message = std::move(late_.message);
      full_ = false;
      return true;
    }
    bool clear() { return std::exchange(full_, false); }

   private:
    Late late_{};
    bool full_ = false;
  };

  static transport::Message copy(transport::Message& message) {
    transport::Message copied{.envelope = message.envelope, .frames = {}};
    for (auto& frame : message.frames) copied.frames.emplace_back().copy(frame);
    return copied;
  }
  bool one_in(unsigned count) { return random_() % count == 0; }
  void drop() { ++faults_.dropped; }

  void maybe_break() {
    if (broken_ || !one_in(60)) return;
    ++faults_.breaks;
    broken_ = true;
    reported_ = false;
    looks_until_repaired_ = static_cast<int>(random_() % 4);
    if (late_out_.clear()) drop();
    if (late_in_.clear()) drop();
    has_late_ = false;
  }

  void take(transport::Message message) {
    const bool sequenced = message.envelope.kind == protocol::MessageKind::kReplies;
    if (sequenced && one_in(10) && !late_in_) {
      ++faults_.delayed;
      late_in_.emplace_back(std::move(message), kLateBy);
      has_late_ = true;
      return;
    }
    if (sequenced && one_in(10)) {
      ++faults_.duplicated;
      incoming_.push_back(copy(message));
    }
    incoming_.push_back(std::move(message));
  }

  void release_late() {
    transport::Message message;
    if (late_out_.due(message)) inner_->send(message);
    if (late_in_.due(message)) incoming_.push_back(std::move(message));
    has_late_ = late_out_ || late_in_;
  }

  std::unique_ptr<transport::Channel> inner_;
  std::mt19937 random_;
  Faults& faults_;
  std::atomic<bool> broken_{false};
  std::atomic<bool> has_late_{false};
  bool reported_ = false;
  int looks_until_repaired_ = 0;
  Slot late_out_;
  Slot late_in_;
  std::deque<transport::Message> incoming_;
};

}  // namespace torch_remote::session
