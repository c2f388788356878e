// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The client's end of a session's connection: messages out, messages in, and how the connection is.
// The one seam between session and network: tests put a Channel here that loses and repeats.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <zmq.hpp>

#include "core/transport/keys.h"
#include "core/transport/message.h"

namespace torch_remote::transport {

enum class ConnectionEvent {
  kNone,
  kConnected,
  kDisconnected,
  kKeyRefused,        // the other side does not know this one's key
  kHandshakeRefused,  // keys that don't belong together, on one side alone, or no ZeroMQ
};

// Methods other than wait() and wake() are called by one thread at a time (the session's lock).
class Channel {
 public:
  virtual ~Channel() = default;

  // Queues the message; never waits. The message keeps its frames.
  virtual void send(Message& message) = 0;

  // Takes the next message if one is there. Before wait() it has to be called until it says false.
  virtual bool receive(Message& message) = 0;

  // What happened to the connection since the last call, one event at a time.
  virtual ConnectionEvent next_event() = 0;

  // Waits without the session's lock until a message may be there, wake() is called, or the time
  // is over. One thread at a time.
  virtual void wait(std::chrono::milliseconds timeout) = 0;

  // Ends a wait() that runs now, or the next one. Any thread.
  virtual void wake() = 0;

  // Whether all that a message is answered by can be received as soon as send() returns: then
  // nobody gains by a message that is sent early.
  virtual bool answers_at_once() const { return false; }
};

// A DEALER socket. session_id names the peer to a ROUTER, so that a new connection takes over from
// the one that was lost. For inproc the context must be the executor's. Throws
// std::invalid_argument for an endpoint that ZeroMQ doesn't take and for keys that are none,
// zmq::error_t.
std::unique_ptr<Channel> connect_channel(std::shared_ptr<zmq::context_t> context,
                                         const std::string& endpoint, std::uint64_t session_id,
                                         const std::optional<ClientKeys>& keys = std::nullopt);

}  // namespace torch_remote::transport
