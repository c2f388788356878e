// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A client that sends whatever a test wants, without a session's care.
#pragma once

#include <chrono>
#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <utility>
#include <vector>

#include "core/protocol/bytes.h"
#include "core/protocol/commands.h"
#include "core/protocol/hello.h"
#include "core/protocol/replies.h"
#include "core/transport/message.h"

namespace torch_remote::executor {

class RawClient {
 public:
  static constexpr std::uint64_t kSession = 0x77;

  RawClient(zmq::context_t& context, const std::string& endpoint,
            const std::string& routing_id = "sraw")
      : socket_(context, zmq::socket_type::dealer) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::rcvhwm, 0);
    socket_.set(zmq::sockopt::sndhwm, 0);
    socket_.set(zmq::sockopt::routing_id, routing_id);
    socket_.connect(endpoint);
  }

  void send(const protocol::Envelope& envelope, std::span<const std::byte> body = {},
            const std::vector<std::vector<std::byte>>& payload = {}) {
    transport::Message message = transport::make_message(envelope, body);
    for (const auto& frame : payload) message.frames.push_back(transport::make_frame(frame));
    message.envelope.session = kSession;
    transport::send(socket_, message);
  }
  void send_frames(const std::vector<std::string>& frames) {
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const auto more = i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none;
      socket_.send(zmq::buffer(frames[i]), more);
    }
  }
  void hello() { send({.kind = protocol::MessageKind::kHello}, encode(protocol::Hello{})); }
  // The next kCommands message, or the one of the given sequence.
  void commands(const protocol::CommandWriter& writer,
                const std::vector<std::vector<std::byte>>& payload = {}) {
    commands_again(++sequence_, writer, payload);
  }
  void commands_again(std::uint64_t sequence, const protocol::CommandWriter& writer,
                      const std::vector<std::vector<std::byte>>& payload = {}) {
    send({.kind = protocol::MessageKind::kCommands, .sequence = sequence}, writer.bytes(), payload);
  }

  bool wait(std::chrono::milliseconds timeout) {
    zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
    return zmq::poll(&item, 1, timeout) > 0;
  }
  // Waits for the next message; fails the test when none comes.
  transport::Message take() {
    wait(std::chrono::seconds(20));
    transport::Message message;
    if (!transport::receive(socket_, message)) ADD_FAILURE() << "no message came";
    return message;
  }
  // The next message of that kind; skips others, acknowledgements usually.
  transport::Message take(protocol::MessageKind kind) {
    while (true) {
      transport::Message message = take();
      if (message.envelope.kind == kind || testing::Test::HasFailure()) return message;
    }
  }
  protocol::Refusal take_refusal() {
    const transport::Message message = take(protocol::MessageKind::kRefused);
    if (message.frames.empty()) return {};
    return protocol::decode_refusal(message.body());
  }
  void open() {
    hello();
    take(protocol::MessageKind::kWelcome);
  }

 private:
  zmq::socket_t socket_;
  std::uint64_t sequence_ = 0;
};

}  // namespace torch_remote::executor
