// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/server.h"

#include <algorithm>
#include <exception>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/executor/worker.h"
#include "core/protocol/bytes.h"
#include "core/transport/endpoint.h"
#include "core/transport/signals.h"

namespace torch_remote::executor {

using protocol::MessageKind;
using transport::Message;

namespace {

constexpr std::chrono::milliseconds kLookAtStopEvery{200};
constexpr int kMessagesInARow = 64;  // from clients, before the workers' answers get their turn

// The worker's last word on the inner socket; clients never see it.
constexpr MessageKind kWorkerEnded = MessageKind::kGoodbye;

std::shared_ptr<zmq::context_t> make_context(std::size_t session_count_max) {
  constexpr std::size_t kSocketsMax = 65535;  // ZeroMQ's own bound
  // ZeroMQ closes in the background: sockets of sessions that have ended count for a while, however
  // fast clients come and go.
  constexpr std::size_t kClosingMax = 4096;
  auto context = std::make_shared<zmq::context_t>();
  // Two for each session, and the router.
  context->set(zmq::ctxopt::max_sockets,
               static_cast<int>(std::min(2 * session_count_max + kClosingMax, kSocketsMax)));
  return context;
}

zmq::socket_t make_pair(zmq::context_t& context) {
  zmq::socket_t socket(context, zmq::socket_type::pair);
  socket.set(zmq::sockopt::linger, 1000);  // the last word reaches the other end
  socket.set(zmq::sockopt::sndhwm, 0);
  socket.set(zmq::sockopt::rcvhwm, 0);
  return socket;
}

}  // namespace

Server::Server(const std::string& endpoint, ExecutorFactory factory, ServerOptions options)
    : context_(make_context(options.session_count_max)),
      router_(*context_, zmq::socket_type::router),
      factory_(std::move(factory)),
      options_(std::move(options)),
      epoch_((std::uint64_t{std::random_device()()} << 32) | std::random_device()()),
      lifetime_(options_.lifetime, std::chrono::steady_clock::now()) {
  transport::check_endpoint(endpoint, /*allow_port_zero=*/true);
  if (options_.keys) {
    demand_keys(*options_.keys);
  } else if (!transport::is_local(endpoint)) {
    throw std::invalid_argument("endpoint \"" + endpoint +
                                "\": keys are needed to serve beyond this machine, for whoever "
                                "connects can compute and read here");
  }
  router_.set(zmq::sockopt::linger, 1000);
  router_.set(zmq::sockopt::sndhwm, 0);
  router_.set(zmq::sockopt::rcvhwm, 0);
  router_.set(zmq::sockopt::router_handover, true);
  router_.set(zmq::sockopt::router_mandatory, true);
  // Clients send the heartbeats, and say how long this end may miss them. Where this end sends some
  // as well, ZeroMQ (to 4.3.5) ends the process when a connection that was handed over still said
  // something and then broke.
  router_.set(zmq::sockopt::ipv6, transport::is_ipv6_address(endpoint));
  router_.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(protocol::kBatchSizeBytesMax));
  transport::uninterrupted([&] { router_.bind(endpoint); });
  endpoint_ = router_.get(zmq::sockopt::last_endpoint);
}

void Server::demand_keys(const transport::ServerKeys& keys) {
  transport::check_key("the executor's secret key", keys.own.secret_key);
  if (keys.authorized_keys.empty())
    throw std::invalid_argument("the list of authorized keys is empty: nobody could connect");
  authenticator_.emplace(*context_, keys.authorized_keys);
  router_.set(zmq::sockopt::curve_server, true);
  router_.set(zmq::sockopt::curve_secretkey, keys.own.secret_key);
  router_.set(zmq::sockopt::zap_domain, transport::kAuthenticationDomain);
}

Server::~Server() {
  for (auto& [routing_id, client] : clients_) *client.abandoned = true;
  context_->shutdown();
  for (auto& [routing_id, client] : clients_) client.thread.join();
}

std::string Server::run(const std::atomic<bool>& stop) {
  while (!stop) {
    const auto now = std::chrono::steady_clock::now();
    if (is_busy()) lifetime_.worked(now);
    if (const auto why = lifetime_.over(now)) return *why;
    std::vector<zmq::pollitem_t> items{{router_.handle(), 0, ZMQ_POLLIN, 0}};
    for (auto& [routing_id, client] : clients_)
      items.push_back({client.to_worker.handle(), 0, ZMQ_POLLIN, 0});
    try {
      zmq::poll(items, kLookAtStopEvery);
    } catch (const zmq::error_t& error) {
      if (error.num() == EINTR) continue;  // a signal: stop says whether it was meant for us
      throw;
    }
    serve_router();
    serve_workers();
    end_silent_clients();
  }
  return "it was told to end";
}

// While one operation takes long, nothing is heard of the worker.
bool Server::is_busy() const {
  return std::ranges::any_of(clients_, [](const auto& entry) {
    return entry.second.acknowledged < entry.second.received;
  });
}

void Server::end_sessions(const std::string& reason) {
  for (auto& [routing_id, client] : clients_)
    refuse(routing_id, 0, protocol::RefusalCode::kEnding, reason + "; its tensors are lost");
}

void Server::serve_router() {
  for (int i = 0; i < kMessagesInARow; ++i) {
    zmq::message_t routing_id;
    const auto received = transport::uninterrupted(
        [&] { return router_.recv(routing_id, zmq::recv_flags::dontwait); });
    if (!received) return;
    if (routing_id.more()) serve_message(routing_id.to_string());
  }
}

void Server::serve_message(const std::string& routing_id) {
  Message message;
  try {
    transport::receive_rest(router_, message);
  } catch (const protocol::ProtocolError& error) {
    refuse(routing_id, 0, protocol::RefusalCode::kMalformed, error.what());
    if (const auto found = clients_.find(routing_id); found != clients_.end())
      abandon(found->second);
    return;
  }
  Client* client = find_or_open(routing_id, message);
  if (client == nullptr) return;
  const auto now = std::chrono::steady_clock::now();
  client->last_heard = now;
  lifetime_.heard(now);
  if (message.envelope.kind == MessageKind::kCommands) {
    lifetime_.worked(now);
    client->received = std::max(client->received, message.envelope.sequence);
  }
  // The worker may have minutes of work before it gets to the message.
  if (message.envelope.kind == MessageKind::kGoodbye) *client->abandoned = true;
  // A worker that has just ended takes nothing any more; serve_workers() finds that out.
  transport::send_if_connected(client->to_worker, message);
}

void Server::serve_workers() {
  for (auto client = clients_.begin(); client != clients_.end();) {
    bool ended = false;
    Message message;
    while (!ended && transport::receive(client->second.to_worker, message)) {
      ended = message.envelope.kind == kWorkerEnded;
      Client& from = client->second;
      from.acknowledged = std::max(from.acknowledged, message.envelope.acknowledged);
      if (!ended) send(client->first, message);
    }
    client = ended ? end_client(client) : std::next(client);
  }
}

Server::Client* Server::find_or_open(const std::string& routing_id, const Message& message) {
  if (const auto found = clients_.find(routing_id); found != clients_.end()) return &found->second;
  const std::uint64_t session = message.envelope.session;
  if (message.envelope.kind == MessageKind::kGoodbye) return nullptr;
  if (message.envelope.kind != MessageKind::kHello) {
    refuse(routing_id, session, protocol::RefusalCode::kUnknownSession,
           "the executor does not know this session: it was restarted, or the session timed out; "
           "its tensors are lost");
    return nullptr;
  }
  if (clients_.size() >= options_.session_count_max) {
    refuse(
        routing_id, session, protocol::RefusalCode::kTooManySessions,
        "the executor serves " + std::to_string(clients_.size()) + " sessions already, its limit");
    return nullptr;
  }
  try {
    return &open_client(routing_id);
  } catch (const std::exception& error) {
    // No descriptor or thread left, say: the sessions that there are go on.
    refuse(routing_id, session, protocol::RefusalCode::kUnavailable,
           std::string("the executor can't open another session: ") + error.what());
    return nullptr;
  }
}

Server::Client& Server::open_client(const std::string& routing_id) {
  const std::string address = "inproc://worker-" + std::to_string(++worker_count_);
  zmq::socket_t front = make_pair(*context_);
  transport::uninterrupted([&] { front.bind(address); });
  zmq::socket_t back = make_pair(*context_);
  transport::uninterrupted([&] { back.connect(address); });
  auto abandoned = std::make_shared<std::atomic<bool>>(false);
  std::thread thread = transport::start_background_thread(
      [back = std::move(back), factory = factory_, epoch = epoch_, abandoned]() mutable {
        Worker worker(std::move(back), std::move(factory), epoch, std::move(abandoned));
        worker.run();
        worker.say_goodbye();
      });
  auto [position, inserted] = clients_.emplace(routing_id, Client{.to_worker = std::move(front),
                                                                  .thread = std::move(thread),
                                                                  .abandoned = std::move(abandoned),
                                                                  .last_heard = {}});
  return position->second;
}

void Server::refuse(const std::string& routing_id, std::uint64_t session,
                    protocol::RefusalCode code, const std::string& reason) {
  Message message =
      transport::make_message({.kind = MessageKind::kRefused, .session = session},
                              encode(protocol::Refusal{.code = code, .reason = reason}));
  send(routing_id, message);
}

void Server::send(const std::string& routing_id, Message& message) {
  try {
    transport::uninterrupted([&] {
      router_.send(zmq::buffer(routing_id), zmq::send_flags::sndmore | zmq::send_flags::dontwait);
    });
  } catch (const zmq::error_t& error) {
    // The client is not connected at the moment. It asks again for what it misses when it is.
    if (error.num() == EHOSTUNREACH) return;
    throw;
  }
  transport::send(router_, message);
}

// The worker ends after the operation that it is executing.
void Server::abandon(Client& client) {
  *client.abandoned = true;
  Message goodbye{.envelope = {.kind = MessageKind::kGoodbye}, .frames = {}};
  transport::send_if_connected(client.to_worker, goodbye);
}

Server::Clients::iterator Server::end_client(Clients::iterator client) {
  client->second.thread.join();
  return clients_.erase(client);
}

void Server::end_silent_clients() {
  const auto now = std::chrono::steady_clock::now();
  for (auto& [routing_id, client] : clients_) {
    if (now - client.last_heard < options_.session_timeout) continue;
    // Told now: what the client sends while the worker ends would get no answer.
    refuse(routing_id, 0, protocol::RefusalCode::kUnknownSession,
           "the session timed out, for nothing was heard of the client for " +
               std::to_string(options_.session_timeout.count()) + " s; its tensors are lost");
    abandon(client);
    client.last_heard = now;
  }
}

}  // namespace torch_remote::executor
