// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A message in memory: the envelope, one body frame and payload frames, and how it passes a socket.
// Frames are reference counted by ZeroMQ, so a message that is kept for replay shares its bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <zmq.hpp>

#include "core/protocol/envelope.h"

namespace torch_remote::transport {

struct Message {
  protocol::Envelope envelope;
  std::vector<zmq::message_t>
      frames;  // the body, then payload; empty where the envelope says it all

  std::span<const std::byte> body() const;  // empty when there is no body frame
  std::span<const std::byte> payload(std::size_t index) const;
  std::size_t payload_count() const { return frames.empty() ? 0 : frames.size() - 1; }
  std::size_t size_bytes() const;  // as counted against the window: all frames and the envelope
};

inline std::span<const std::byte> bytes_of(const zmq::message_t& frame) {
  return {frame.data<std::byte>(), frame.size()};
}

// A frame that holds a copy of bytes.
zmq::message_t make_frame(std::span<const std::byte> bytes);

// A frame that is the bytes themselves. They have to stay, unchanged, until the last copy of hold
// is dropped, which may be on one of ZeroMQ's threads.
zmq::message_t borrow_frame(std::span<const std::byte> bytes, std::shared_ptr<void> hold);

// A message of a body alone.
Message make_message(const protocol::Envelope& envelope, std::span<const std::byte> body);

// Sends without waiting. The message keeps its frames, sharing their bytes with ZeroMQ.
// Throws zmq::error_t.
void send(zmq::socket_t& socket, Message& message);

// The same, for a peer that may have gone: false then, and the message is dropped.
bool send_if_connected(zmq::socket_t& socket, Message& message);

// Takes the next message if one is there, without waiting. False when there is none.
// Throws protocol::ProtocolError when the frames are no message: the message is then consumed.
bool receive(zmq::socket_t& socket, Message& message);

// The same after something else has taken the leading frames (a ROUTER's routing id).
void receive_rest(zmq::socket_t& socket, Message& message);

}  // namespace torch_remote::transport
