// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A channel without a network: a test says what arrives and looks at what was sent.
#pragma once

#include <chrono>
#include <deque>
#include <utility>
#include <vector>

#include "core/protocol/hello.h"
#include "core/transport/channel.h"

namespace torch_remote::session {

class ScriptedChannel final : public transport::Channel {
 public:
  std::vector<protocol::Envelope> sent;
  std::deque<transport::Message> incoming;
  std::deque<transport::ConnectionEvent> events;

  void send(transport::Message& message) override { sent.push_back(message.envelope); }
  bool receive(transport::Message& message) override {
    if (incoming.empty()) return false;
    message = std::move(incoming.front());
    incoming.pop_front();
    return true;
  }
  transport::ConnectionEvent next_event() override {
    if (events.empty()) return transport::ConnectionEvent::kNone;
    const auto event = events.front();
    events.pop_front();
    return event;
  }
  void wait(std::chrono::milliseconds) override {}
  void wake() override {}

  void arrives(const protocol::Envelope& envelope, std::span<const std::byte> body = {}) {
    incoming.push_back(transport::make_message(envelope, body));
  }
  void welcomes(const protocol::Welcome& welcome = {}) {
    arrives({.kind = protocol::MessageKind::kWelcome}, encode(welcome));
  }
};

}  // namespace torch_remote::session
