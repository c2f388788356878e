// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Who may connect: ZeroMQ asks for each new connection of a CURVE server, by the protocol ZAP
// (rfc.zeromq.org/spec/27). Where nobody answers, ZeroMQ lets every client in that has any key.
#pragma once

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <zmq.hpp>

namespace torch_remote::transport {

// Answers for all sockets of a context, on a thread of its own, until it is destroyed. To be made
// before the first socket of the context is bound.
class Authenticator {
 public:
  // Throws std::invalid_argument when one of the keys is none.
  Authenticator(zmq::context_t& context, const std::vector<std::string>& authorized_keys);
  Authenticator(const Authenticator&) = delete;
  Authenticator& operator=(const Authenticator&) = delete;
  ~Authenticator();

 private:
  void serve();
  void answer();

  std::set<std::string> authorized_;  // 32 bytes each
  zmq::socket_t socket_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// The domain under which an executor asks.
inline constexpr const char* kAuthenticationDomain = "torch-remote";

}  // namespace torch_remote::transport
