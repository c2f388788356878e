// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/worker.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>
#include <utility>

#include "core/protocol/bytes.h"
#include "core/transport/signals.h"

namespace torch_remote::executor {

using protocol::MessageKind;
using protocol::ProtocolError;
using transport::Message;

namespace {

constexpr std::uint64_t kUnacknowledgedMax = 8;

// Reads are small and their answers large: a client that never takes them must not fill the memory
// of all the others.
constexpr std::uint64_t kRepliesInFlightSizeBytesMax = 4ull << 30;

}  // namespace

Worker::Worker(zmq::socket_t socket, ExecutorFactory factory, std::uint64_t epoch,
               std::shared_ptr<const std::atomic<bool>> abandoned)
    : socket_(std::move(socket)),
      factory_(std::move(factory)),
      epoch_(epoch),
      abandoned_(std::move(abandoned)) {}

void Worker::run() noexcept {
  try {
    while (!ended_) {
      if (serve_next()) continue;
      // Nothing is waiting: now the client should know how far we are.
      acknowledge();
      zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
      transport::uninterrupted([&] { return zmq::poll(&item, 1); });
    }
  } catch (const std::exception&) {
    // The context has ended, or there is not even memory for a refusal: the end of this session.
  }
  executor_.reset();
}

void Worker::say_goodbye() noexcept {
  try {
    send_control(MessageKind::kGoodbye, 0, {});
  } catch (const std::exception&) {
    // The other end is gone as well.
  }
}

bool Worker::serve_next() {
  Message message;
  try {
    if (!transport::receive(socket_, message)) return false;
    handle(message);
  } catch (const ProtocolError& error) {
    refuse(protocol::RefusalCode::kMalformed, error.what());
  } catch (const zmq::error_t&) {
    throw;
  } catch (const std::exception& error) {
    // No memory for a message or a table, say: the end of this session, not of the server.
    refuse(protocol::RefusalCode::kUnavailable, error.what());
  }
  return true;
}

void Worker::handle(Message& message) {
  if (!executor_ && message.envelope.kind != MessageKind::kHello) {
    return refuse(protocol::RefusalCode::kUnknownSession, "the session was not opened by a hello");
  }
  if (executor_) window_.acknowledge(message.envelope.acknowledged);
  switch (message.envelope.kind) {
    case MessageKind::kHello:
      if (!executor_) open(message);
      return;
    case MessageKind::kCommands:
      return execute(message);
    case MessageKind::kResume:
      send_control(MessageKind::kResumed, gate_.expected(), {});
      return window_.replay(message.envelope.acknowledged + 1,
                            [this](Message& kept) { transmit(kept); });
    case MessageKind::kGoodbye:
      ended_ = true;
      return;
    default:
      return;
  }
}

void Worker::open(const Message& message) {
  const protocol::Hello hello = protocol::decode_hello(message.body());
  session_ = message.envelope.session;
  if (hello.version_major != protocol::kVersionMajor) {
    return refuse(protocol::RefusalCode::kVersion,
                  "protocol version " + std::to_string(hello.version_major) + " of the client, " +
                      std::to_string(protocol::kVersionMajor) +
                      " of the executor: install the same torch-remote on both sides");
  }
  try {
    executor_ = factory_(hello);
  } catch (const std::exception& error) {
    return refuse(protocol::RefusalCode::kUnavailable, error.what());
  }
  if (hello.device_index >= executor_->device_count()) {
    const std::uint32_t count = executor_->device_count();
    executor_.reset();
    return refuse(protocol::RefusalCode::kUnavailable,
                  "there is no device " + std::to_string(hello.device_index) + " here, but " +
                      std::to_string(count) + " counted from 0");
  }
  limits_ = executor_->limits();
  operators_.resize(limits_.operator_count_max);
  plans_.resize(limits_.plan_count_max);
  protocol::Welcome welcome;
  welcome.version_minor = std::min(hello.version_minor, protocol::kVersionMinor);
  welcome.epoch = epoch_;
  welcome.limits = limits_;
  welcome.device_index = hello.device_index;
  welcome.device_count = executor_->device_count();
  welcome.description = executor_->describe();
  send_control(MessageKind::kWelcome, 0, encode(welcome));
}

void Worker::execute(const Message& message) {
  switch (gate_.accept(message.envelope.sequence)) {
    case transport::SequenceGate::Verdict::kDuplicate:
      return;
    case transport::SequenceGate::Verdict::kGap:
      // Something was lost with a connection. Asking once is enough: what follows is dropped until
      // then.
      if (!asked_for_replay_) send_control(MessageKind::kResumed, gate_.expected(), {});
      asked_for_replay_ = true;
      return;
    case transport::SequenceGate::Verdict::kDeliver:
      asked_for_replay_ = false;
  }
  message_ = &message;
  next_payload_ = 0;
  for_each_command(message.body(), *this);
  message_ = nullptr;
  if (!replies_.empty()) {
    send_replies();
  } else if (gate_.accepted() - acknowledged_ >= kUnacknowledgedMax) {
    acknowledge();
  }
}

void Worker::refuse(protocol::RefusalCode code, const std::string& reason) {
  send_control(MessageKind::kRefused, 0, encode(protocol::Refusal{.code = code, .reason = reason}));
  ended_ = true;
}

void Worker::send_replies() {
  acknowledged_ = gate_.accepted();
  Message message = transport::make_message(
      {.kind = MessageKind::kReplies, .session = session_, .acknowledged = acknowledged_},
      replies_.bytes());
  for (auto& frame : reply_payload_) message.frames.push_back(std::move(frame));
  replies_.clear();
  reply_payload_.clear();
  reply_payload_size_bytes_ = 0;
  if (window_.size_bytes() > kRepliesInFlightSizeBytesMax)
    throw ProtocolError("more was read than the client has acknowledged: 4 GiB are under way");
  transmit(window_.push(std::move(message), 0));
}

void Worker::acknowledge() {
  if (acknowledged_ == gate_.accepted()) return;
  send_control(MessageKind::kAcknowledge, 0, {});
}

void Worker::send_control(MessageKind kind, std::uint64_t sequence,
                          std::span<const std::byte> body) {
  acknowledged_ = gate_.accepted();
  Message message = transport::make_message(
      {.kind = kind, .session = session_, .sequence = sequence, .acknowledged = acknowledged_},
      body);
  transmit(message);
}

// A client that left without waiting for its answers is no error: its goodbye comes last.
void Worker::transmit(Message& message) { transport::send_if_connected(socket_, message); }

}  // namespace torch_remote::executor
