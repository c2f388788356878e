// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/session/link.h"

#include <exception>
#include <string>
#include <utility>

#include "core/protocol/bytes.h"
#include "core/session/errors.h"

namespace torch_remote::session {

using protocol::MessageKind;
using transport::Message;

Link::Link(std::unique_ptr<transport::Channel> channel, std::string endpoint,
           std::uint64_t session_id, LinkTimeouts timeouts)
    : channel_(std::move(channel)),
      endpoint_(std::move(endpoint)),
      session_id_(session_id),
      timeouts_(timeouts) {}

void Link::open(const protocol::Hello& hello,
                const std::function<void(std::chrono::milliseconds)>& wait) {
  try {
    say_hello(hello, wait);
  } catch (...) {
    // The executor may have opened the session all the same.
    try {
      goodbye();
    } catch (const std::exception&) {
      // It is not there.
    }
    throw;
  }
}

void Link::say_hello(const protocol::Hello& hello,
                     const std::function<void(std::chrono::milliseconds)>& wait) {
  send_control(MessageKind::kHello, encode(hello));
  const auto deadline = Clock::now() + timeouts_.connect;
  while (!open_) {
    Message message;
    try {
      while (!open_ && channel_->receive(message)) open_ = handle_answer(message, hello);
    } catch (const protocol::ProtocolError& error) {
      throw ConnectError("what answers at " + endpoint_ +
                         " is no executor of torch-remote: " + error.what());
    }
    if (open_) break;
    check_handshake();
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) {
      throw_no_answer();
    }
    wait(left);
  }
  follow_connection();
}

void Link::throw_no_answer() const {
  if (was_dropped_) {
    throw ConnectError(
        "what listens at " + endpoint_ +
        " drops the connection: it is no executor of torch-remote, or stands for one "
        "that is not running");
  }
  throw ConnectError("no executor answered at " + endpoint_ + " within " +
                     std::to_string(timeouts_.connect.count()) +
                     " ms: is torch-remote-executor running there, and is the port right?");
}

void Link::check_handshake() {
  for (auto event = channel_->next_event(); event != transport::ConnectionEvent::kNone;
       event = channel_->next_event()) {
    was_dropped_ = was_dropped_ || event == transport::ConnectionEvent::kDisconnected;
    if (event == transport::ConnectionEvent::kKeyRefused) {
      throw ConnectError("the executor at " + endpoint_ +
                         " refused this client's key: its public key has to be on the executor's "
                         "list of authorized keys");
    }
    if (event == transport::ConnectionEvent::kHandshakeRefused) {
      throw ConnectError(
          "what listens at " + endpoint_ +
          " is no executor, or it and this client don't agree about keys: either both use them or "
          "none, and server_key has to be the executor's own public key");
    }
  }
}

// True when the answer is the welcome.
bool Link::handle_answer(const Message& message, const protocol::Hello& hello) {
  bytes_received_ += message.size_bytes();
  if (message.envelope.kind == MessageKind::kRefused) {
    throw ConnectError("the executor at " + endpoint_ +
                       " refused the session: " + protocol::decode_refusal(message.body()).reason);
  }
  if (message.envelope.kind != MessageKind::kWelcome) return false;
  welcome_ = protocol::decode_welcome(message.body());
  if (welcome_.version_major != protocol::kVersionMajor) {
    throw ConnectError("the executor at " + endpoint_ + " speaks protocol version " +
                       std::to_string(welcome_.version_major) + ", this client " +
                       std::to_string(protocol::kVersionMajor) +
                       ": install the same torch-remote on both sides");
  }
  if (welcome_.device_index != hello.device_index) {
    throw ConnectError("the executor at " + endpoint_ + " gave its device " +
                       std::to_string(welcome_.device_index) + " instead of " +
                       std::to_string(hello.device_index) + ": it knows of one device only");
  }
  return true;
}

void Link::send(Message message, std::uint32_t operations) {
  message.envelope.kind = MessageKind::kCommands;
  message.envelope.session = session_id_;
  transmit(window_.push(std::move(message), operations));
}

bool Link::receive(const std::function<void(Message&)>& handle) {
  bool any = false;
  Message message;
  try {
    while (channel_->receive(message)) {
      any = true;
      handle_message(message, handle);
    }
  } catch (const protocol::ProtocolError& error) {
    throw SessionLost("the executor at " + endpoint_ + " broke the protocol: " + error.what());
  }
  follow_connection();
  return any;
}

void Link::acknowledge() {
  if (acknowledged_ != gate_.accepted()) send_control(MessageKind::kAcknowledge);
}

void Link::keep_alive() { send_control(MessageKind::kKeepAlive); }

void Link::goodbye() { send_control(MessageKind::kGoodbye); }

void Link::release() {
  channel_.reset();
  window_ = {};
}

void Link::send_control(MessageKind kind, std::span<const std::byte> body) {
  Message message = transport::make_message({.kind = kind, .session = session_id_}, body);
  transmit(message);
}

void Link::transmit(Message& message) {
  message.envelope.acknowledged = acknowledged_ = gate_.accepted();
  bytes_sent_ += message.size_bytes();
  channel_->send(message);
}

void Link::handle_message(Message& message, const std::function<void(Message&)>& handle) {
  bytes_received_ += message.size_bytes();
  switch (message.envelope.kind) {
    case MessageKind::kReplies:
      return handle_replies(message, handle);
    case MessageKind::kAcknowledge:
      return window_.acknowledge(message.envelope.acknowledged);
    case MessageKind::kResumed:
      window_.acknowledge(message.envelope.acknowledged);
      return window_.replay(message.envelope.sequence, [this](Message& kept) { transmit(kept); });
    case MessageKind::kRefused:
      throw SessionLost("the executor at " + endpoint_ +
                        " ended the session: " + protocol::decode_refusal(message.body()).reason);
    default:
      return;  // nothing that an executor of this version sends
  }
}

void Link::handle_replies(Message& message, const std::function<void(Message&)>& handle) {
  window_.acknowledge(message.envelope.acknowledged);
  switch (gate_.accept(message.envelope.sequence)) {
    case transport::SequenceGate::Verdict::kDeliver:
      asked_for_replay_ = false;
      return handle(message);
    case transport::SequenceGate::Verdict::kDuplicate:
      return;
    case transport::SequenceGate::Verdict::kGap:
      // Asking once is enough: everything after the gap comes again.
      if (!std::exchange(asked_for_replay_, true)) send_control(MessageKind::kResume);
  }
}

void Link::follow_connection() {
  while (true) {
    switch (channel_->next_event()) {
      case transport::ConnectionEvent::kDisconnected:
        if (!disconnected_since_) disconnected_since_ = Clock::now();
        continue;
      case transport::ConnectionEvent::kConnected:
        asked_for_replay_ = disconnected_since_.has_value();
        if (asked_for_replay_) send_control(MessageKind::kResume);
        disconnected_since_.reset();
        continue;
      case transport::ConnectionEvent::kKeyRefused:
      case transport::ConnectionEvent::kHandshakeRefused:
        continue;  // another executor listens there by now; the time to come back runs out
      case transport::ConnectionEvent::kNone:
        break;
    }
    break;
  }
  if (disconnected_since_ && Clock::now() - *disconnected_since_ > timeouts_.reconnect) {
    throw SessionLost("the executor at " + endpoint_ +
                      " is gone: its connection broke and did not come back within " +
                      std::to_string(timeouts_.reconnect.count()) + " ms; its tensors are lost");
  }
}

}  // namespace torch_remote::session
