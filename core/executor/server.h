// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Many sessions behind one endpoint: a ROUTER that gives each client a Worker of its own.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <zmq.hpp>

#include "core/executor/executor.h"
#include "core/executor/lifetime.h"
#include "core/transport/authenticator.h"
#include "core/transport/keys.h"
#include "core/transport/message.h"

namespace torch_remote::executor {

struct ServerOptions {
  std::size_t session_count_max = 64;
  // A session whose client has been silent for so long is ended and its storages freed. Clients say
  // that they live every five seconds.
  std::chrono::seconds session_timeout{300};
  // Without keys an executor serves this machine alone.
  std::optional<transport::ServerKeys> keys{};
  LifetimeLimits lifetime{};
};

class Server {
 public:
  // Binds. Throws std::invalid_argument for a malformed endpoint, keys that are none, and an
  // endpoint that others could reach without keys; zmq::error_t when it is taken.
  Server(const std::string& endpoint, ExecutorFactory factory, ServerOptions options = {});
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  // The endpoint with the port that the system picked for port 0.
  const std::string& endpoint() const { return endpoint_; }

  // Serves until stop is true, at which it looks a few times a second, or its lifetime is over.
  // Says why it ended.
  std::string run(const std::atomic<bool>& stop);

  // Tells every client why its session ends. After run().
  void end_sessions(const std::string& reason);

 private:
  struct Client {
    zmq::socket_t to_worker;
    std::thread thread;
    std::shared_ptr<std::atomic<bool>> abandoned;
    std::chrono::steady_clock::time_point last_heard;
    std::uint64_t received = 0;      // sequence of the last commands
    std::uint64_t acknowledged = 0;  // and of the last that were executed
  };
  using Clients = std::map<std::string, Client>;  // by routing id

  void serve_router();
  void serve_message(const std::string& routing_id);
  void serve_workers();
  Client& open_client(const std::string& routing_id);
  Client* find_or_open(const std::string& routing_id, const transport::Message& message);
  void refuse(const std::string& routing_id, std::uint64_t session, protocol::RefusalCode code,
              const std::string& reason);
  void send(const std::string& routing_id, transport::Message& message);
  static void abandon(Client& client);
  Clients::iterator end_client(Clients::iterator client);
  void end_silent_clients();
  bool is_busy() const;

  void demand_keys(const transport::ServerKeys& keys);

  std::shared_ptr<zmq::context_t> context_;
  std::optional<transport::Authenticator> authenticator_;
  zmq::socket_t router_;
  ExecutorFactory factory_;
  ServerOptions options_;
  std::string endpoint_;
  std::uint64_t epoch_;
  std::uint64_t worker_count_ = 0;
  Lifetime lifetime_;
  Clients clients_;
};

}  // namespace torch_remote::executor
