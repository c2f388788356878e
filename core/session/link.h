// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// One session's stream over a connection that may break: handshake, sequences both ways,
// acknowledgements, and the replay after a reconnect. Session (session.h) puts commands in and gets
// replies out; core/executor/worker.h is the other end.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/protocol/hello.h"
#include "core/transport/channel.h"
#include "core/transport/replay_window.h"

namespace torch_remote::session {

struct LinkTimeouts {
  std::chrono::milliseconds connect{10'000};    // until the executor has welcomed the client
  std::chrono::milliseconds reconnect{20'000};  // until a lost connection is given up
  std::chrono::milliseconds close{5'000};       // for what is still under way at the end
};

// Not thread-safe: the session's lock guards it, except for channel().wait() and wake().
class Link {
 public:
  Link(std::unique_ptr<transport::Channel> channel, std::string endpoint, std::uint64_t session_id,
       LinkTimeouts timeouts);

  // Opens the session. wait(milliseconds) is called while nothing has been answered; it may throw
  // to give up. Throws ConnectError when the executor refuses, the keys don't fit, or nothing
  // answers in time.
  void open(const protocol::Hello& hello,
            const std::function<void(std::chrono::milliseconds)>& wait);

  // Sends a kCommands message; operations are the calls in it. Keeps it until it is acknowledged.
  void send(transport::Message message, std::uint32_t operations);

  // Takes every message that has arrived and gives the new replies to handle, in order. Looks after
  // the connection as well. True when anything came. Throws SessionLost when the session has ended.
  bool receive(const std::function<void(transport::Message&)>& handle);

  // Tells the executor what was received, if it doesn't know yet.
  void acknowledge();
  void keep_alive();
  void goodbye();
  // Gives back the connection and what is kept for it. Nothing but the counts may be used after it.
  void release();

  const protocol::Welcome& welcome() const { return welcome_; }
  const transport::ReplayWindow& window() const { return window_; }
  transport::Channel& channel() { return *channel_; }
  std::uint64_t bytes_sent() const { return bytes_sent_; }
  std::uint64_t bytes_received() const { return bytes_received_; }

 private:
  using Clock = std::chrono::steady_clock;

  void say_hello(const protocol::Hello& hello,
                 const std::function<void(std::chrono::milliseconds)>& wait);
  void check_handshake();
  [[noreturn]] void throw_no_answer() const;
  bool handle_answer(const transport::Message& message, const protocol::Hello& hello);
  void send_control(protocol::MessageKind kind, std::span<const std::byte> body = {});
  void transmit(transport::Message& message);
  void handle_message(transport::Message& message,
                      const std::function<void(transport::Message&)>& handle);
  void handle_replies(transport::Message& message,
                      const std::function<void(transport::Message&)>& handle);
  void follow_connection();

  std::unique_ptr<transport::Channel> channel_;
  std::string endpoint_;
  std::uint64_t session_id_;
  LinkTimeouts timeouts_;
  protocol::Welcome welcome_;
  bool open_ = false;
  bool was_dropped_ = false;  // before the executor answered
  transport::ReplayWindow window_;
  transport::SequenceGate gate_;
  std::uint64_t acknowledged_ = 0;  // highest sequence of replies that the executor knows we have
  bool asked_for_replay_ = false;
  std::optional<Clock::time_point> disconnected_since_;
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t bytes_received_ = 0;
};

}  // namespace torch_remote::session
