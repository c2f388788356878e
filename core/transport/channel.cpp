// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/transport/channel.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <stdexcept>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "core/transport/endpoint.h"
#include "core/transport/signals.h"

namespace torch_remote::transport {
namespace {

// A pipe whose reading end becomes readable when somebody calls notify().
class WakePipe {
 public:
  WakePipe() {
    if (::pipe(ends_.data()) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    for (const int end : ends_) {
      ::fcntl(end, F_SETFL, O_NONBLOCK);
      ::fcntl(end, F_SETFD, FD_CLOEXEC);
    }
  }
  WakePipe(const WakePipe&) = delete;
  WakePipe& operator=(const WakePipe&) = delete;
  ~WakePipe() {
    for (const int end : ends_) ::close(end);
  }

  int descriptor() const { return ends_[0]; }
  void notify() {
    const char byte = 0;
    // A full pipe wakes just as well.
    [[maybe_unused]] const auto written = ::write(ends_[1], &byte, 1);
  }
  void drain() {
    std::array<char, 64> bytes;
    while (::read(ends_[0], bytes.data(), bytes.size()) > 0) {
    }
  }

 private:
  std::array<int, 2> ends_{};
};

class ZmqChannel final : public Channel {
 public:
  ZmqChannel(std::shared_ptr<zmq::context_t> context, const std::string& endpoint,
             std::uint64_t session_id, const std::optional<ClientKeys>& keys)
      : context_(std::move(context)),
        socket_(*context_, zmq::socket_type::dealer),
        monitor_(*context_, zmq::socket_type::pair) {
    // The session bounds what is in flight; ZeroMQ must never drop or block on its own.
    socket_.set(zmq::sockopt::sndhwm, 0);
    socket_.set(zmq::sockopt::rcvhwm, 0);
    socket_.set(zmq::sockopt::linger, kLingerMs);
    socket_.set(zmq::sockopt::routing_id, routing_id(session_id));
    const Scheme scheme = check_endpoint(endpoint, /*allow_port_zero=*/false);
    if (scheme != Scheme::kInproc) watch_connection(session_id);
    if (scheme == Scheme::kTcp) keep_connection_honest();
    if (keys) encrypt(*keys);
    socket_.set(zmq::sockopt::ipv6, is_ipv6_address(endpoint));
    connect(endpoint);
    descriptor_ = uninterrupted([&] { return socket_.get(zmq::sockopt::fd); });
  }
  ZmqChannel(const ZmqChannel&) = delete;
  ZmqChannel& operator=(const ZmqChannel&) = delete;
  ~ZmqChannel() override { zmq_socket_monitor(socket_.handle(), nullptr, 0); }

  void send(Message& message) override {
    transport::send(socket_, message);
    // Sending may have taken the signal of a message that has arrived, which wait() would then
    // sleep through.
    const int events = uninterrupted([&] { return socket_.get(zmq::sockopt::events); });
    if ((events & ZMQ_POLLIN) != 0) wake_.notify();
  }
  bool receive(Message& message) override { return transport::receive(socket_, message); }

  ConnectionEvent next_event() override {
    if (!monitored_) return ConnectionEvent::kNone;
    zmq::message_t event;
    zmq::message_t address;
    const auto receive_frame = [&](zmq::message_t& frame) {
      return uninterrupted([&] { return monitor_.recv(frame, zmq::recv_flags::dontwait); });
    };
    while (receive_frame(event)) {
      (void)receive_frame(address);
      std::uint16_t number = 0;
      std::memcpy(&number, event.data(), sizeof(number));
      if (number == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) return ConnectionEvent::kConnected;
      if (number == ZMQ_EVENT_DISCONNECTED) return ConnectionEvent::kDisconnected;
      if (number == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) return ConnectionEvent::kKeyRefused;
      if (number == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL ||
          number == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        return ConnectionEvent::kHandshakeRefused;
    }
    return ConnectionEvent::kNone;
  }

  void wait(std::chrono::milliseconds timeout) override {
    // ZMQ_FD signals an edge: it is armed once receive() said that nothing is there.
    std::array<pollfd, 2> descriptors{{{descriptor_, POLLIN, 0}, {wake_.descriptor(), POLLIN, 0}}};
    ::poll(descriptors.data(), descriptors.size(), static_cast<int>(timeout.count()));
    if (descriptors[1].revents != 0) wake_.drain();
  }

  void wake() override { wake_.notify(); }

 private:
  // Lets the goodbye out to the kernel, but never holds up an exit for long.
  static constexpr int kLingerMs = 250;

  static std::string routing_id(std::uint64_t session_id) {
    // A routing id may not begin with a zero byte; that is reserved for ZeroMQ's own.
    std::string id("s");
    id.append(reinterpret_cast<const char*>(&session_id), sizeof(session_id));
    return id;
  }

  void connect(const std::string& endpoint) {
    try {
      uninterrupted([&] { socket_.connect(endpoint); });
    } catch (const zmq::error_t& error) {
      throw std::invalid_argument("endpoint \"" + endpoint + "\": " + error.what());
    }
  }

  void watch_connection(std::uint64_t session_id) {
    const std::string address = "inproc://monitor-" + std::to_string(session_id);
    if (zmq_socket_monitor(socket_.handle(), address.c_str(),
                           ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
                               ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                               ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                               ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) != 0) {
      throw zmq::error_t();
    }
    monitor_.set(zmq::sockopt::linger, 0);
    uninterrupted([&] { monitor_.connect(address); });
    monitored_ = true;
  }

  void encrypt(const ClientKeys& keys) {
    check_key("the executor's public key", keys.server_key);
    check_key("the client's public key", keys.own.public_key);
    check_key("the client's secret key", keys.own.secret_key);
    socket_.set(zmq::sockopt::curve_serverkey, keys.server_key);
    socket_.set(zmq::sockopt::curve_publickey, keys.own.public_key);
    socket_.set(zmq::sockopt::curve_secretkey, keys.own.secret_key);
  }

  // Half-open connections (a laptop that slept, a NAT that forgot) are found by ZMTP heartbeats.
  void keep_connection_honest() {
    socket_.set(zmq::sockopt::reconnect_ivl, 100);
    socket_.set(zmq::sockopt::reconnect_ivl_max, 2000);
    socket_.set(zmq::sockopt::heartbeat_ivl, 5000);
    socket_.set(zmq::sockopt::heartbeat_timeout, 20000);
    socket_.set(zmq::sockopt::heartbeat_ttl, 20000);  // the executor's end, which asks for none
    socket_.set(zmq::sockopt::tcp_keepalive, 1);
  }

  std::shared_ptr<zmq::context_t> context_;
  zmq::socket_t socket_;
  zmq::socket_t monitor_;
  bool monitored_ = false;
  int descriptor_ = -1;
  WakePipe wake_;
};

}  // namespace

std::unique_ptr<Channel> connect_channel(std::shared_ptr<zmq::context_t> context,
                                         const std::string& endpoint, std::uint64_t session_id,
                                         const std::optional<ClientKeys>& keys) {
  return std::make_unique<ZmqChannel>(std::move(context), endpoint, session_id, keys);
}

}  // namespace torch_remote::transport
