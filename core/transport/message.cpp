// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/transport/message.h"

#include <cerrno>
#include <memory>
#include <tuple>
#include <utility>

#include "core/protocol/bytes.h"
#include "core/transport/signals.h"
#include "core/transport/thread_sanitizer.h"

namespace torch_remote::transport {
namespace {

// zmq_msg_copy wants a non-const source, though it only counts a reference.
zmq::message_t share(zmq::message_t& frame) {
  zmq::message_t shared;
  shared.copy(frame);
  return shared;
}

bool receive_frame(zmq::socket_t& socket, zmq::message_t& frame) {
  return uninterrupted([&] { return socket.recv(frame, zmq::recv_flags::dontwait); }).has_value();
}

template <typename Frame>
void send_frame(zmq::socket_t& socket, Frame&& frame, zmq::send_flags flags) {
  const auto sent = uninterrupted([&] { return socket.send(std::forward<Frame>(frame), flags); });
  if (!sent) throw zmq::error_t(EAGAIN);
}

void drain(zmq::socket_t& socket, zmq::message_t& last) {
  while (last.more()) {
    if (!receive_frame(socket, last)) return;
  }
}

}  // namespace

std::span<const std::byte> Message::body() const {
  return frames.empty() ? std::span<const std::byte>() : bytes_of(frames.front());
}

std::span<const std::byte> Message::payload(std::size_t index) const {
  return bytes_of(frames.at(index + 1));
}

std::size_t Message::size_bytes() const {
  std::size_t size_bytes = protocol::kEnvelopeSizeBytes;
  for (const auto& frame : frames) size_bytes += frame.size();
  return size_bytes;
}

zmq::message_t make_frame(std::span<const std::byte> bytes) {
  return zmq::message_t(bytes.data(), bytes.size());
}

zmq::message_t borrow_frame(std::span<const std::byte> bytes, std::shared_ptr<void> hold) {
  using Hold = std::shared_ptr<void>;
  auto kept = std::make_unique<Hold>(std::move(hold));
  // ZeroMQ only reads what it sends, though it takes a pointer to non-const.
  auto* data =
      const_cast<std::byte*>(bytes.data());  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  const auto release = [](void* /*data*/, void* hint) {
    const std::unique_ptr<Hold> dropped(static_cast<Hold*>(hint));
  };
  zmq::message_t frame(data, bytes.size(), release, kept.get());
  std::ignore = kept.release();  // the frame's from here on
  return frame;
}

Message make_message(const protocol::Envelope& envelope, std::span<const std::byte> body) {
  Message message{.envelope = envelope, .frames = {}};
  if (!body.empty()) message.frames.push_back(make_frame(body));
  return message;
}

void send(zmq::socket_t& socket, Message& message) {
  release_to_other_threads();
  const auto envelope = encode(message.envelope);
  std::size_t left = message.frames.size();
  const auto flags = [&] {
    return left > 0 ? zmq::send_flags::dontwait | zmq::send_flags::sndmore
                    : zmq::send_flags::dontwait;
  };
  send_frame(socket, zmq::buffer(envelope), flags());
  for (auto& frame : message.frames) {
    --left;
    send_frame(socket, share(frame), flags());
  }
}

bool send_if_connected(zmq::socket_t& socket, Message& message) {
  try {
    send(socket, message);
  } catch (const zmq::error_t& error) {
    if (error.num() != EAGAIN) throw;
    return false;
  }
  return true;
}

bool receive(zmq::socket_t& socket, Message& message) {
  zmq::message_t first;
  if (!receive_frame(socket, first)) return false;
  acquire_from_other_threads();
  message.frames.clear();
  try {
    message.envelope = protocol::decode_envelope(bytes_of(first));
  } catch (const protocol::ProtocolError&) {
    drain(socket, first);
    throw;
  }
  bool more = first.more();
  while (more) {
    zmq::message_t frame;
    if (!receive_frame(socket, frame)) break;
    more = frame.more();
    if (message.frames.size() > protocol::kPayloadFramesMax) {
      drain(socket, frame);
      throw protocol::ProtocolError("message has too many frames");
    }
    message.frames.push_back(std::move(frame));
  }
  return true;
}

void receive_rest(zmq::socket_t& socket, Message& message) {
  if (!receive(socket, message)) throw protocol::ProtocolError("message has no envelope");
}

}  // namespace torch_remote::transport
