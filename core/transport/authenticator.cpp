// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/transport/authenticator.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <zmq.h>

#include "core/transport/keys.h"
#include "core/transport/signals.h"

namespace torch_remote::transport {
namespace {

constexpr const char* kEndpoint = "inproc://zeromq.zap.01";
constexpr std::chrono::milliseconds kLookAtStopEvery{100};

std::string bytes_of_key(const std::string& key) {
  check_key("one of the authorized keys", key);
  std::array<std::uint8_t, 32> bytes;
  zmq_z85_decode(bytes.data(), key.c_str());
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// version, request id, domain, address, identity, mechanism, credentials...
struct Request {
  static constexpr std::size_t kVersion = 0, kId = 1, kDomain = 2, kMechanism = 5, kKey = 6,
                               kFrames = 7;
  std::vector<std::string> frames;

  bool is_of_curve() const {
    return frames.size() == kFrames && frames[kVersion] == "1.0" &&
           frames[kDomain] == kAuthenticationDomain && frames[kMechanism] == "CURVE";
  }
};

Request receive_request(zmq::socket_t& socket) {
  Request request;
  bool more = true;
  while (more) {
    zmq::message_t frame;
    if (!uninterrupted([&] { return socket.recv(frame, zmq::recv_flags::dontwait); })) break;
    request.frames.push_back(frame.to_string());
    more = frame.more();
  }
  return request;
}

}  // namespace

Authenticator::Authenticator(zmq::context_t& context,
                             const std::vector<std::string>& authorized_keys)
    : socket_(context, zmq::socket_type::rep) {
  for (const std::string& key : authorized_keys) authorized_.insert(bytes_of_key(key));
  socket_.set(zmq::sockopt::linger, 0);
  uninterrupted([&] { socket_.bind(kEndpoint); });
  thread_ = start_background_thread([this] { serve(); });
}

Authenticator::~Authenticator() {
  stop_ = true;
  thread_.join();
}

void Authenticator::serve() {
  try {
    while (!stop_) {
      zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
      const int ready = uninterrupted([&] { return zmq::poll(&item, 1, kLookAtStopEvery); });
      if (ready > 0) answer();
    }
  } catch (const zmq::error_t&) {
    // The context has ended; without an answer nobody is let in.
  }
}

// Version, request id, status, reason, user id, metadata.
void Authenticator::answer() {
  const Request request = receive_request(socket_);
  if (request.frames.size() < 2) return;
  const bool is_allowed =
      request.is_of_curve() && authorized_.contains(request.frames[Request::kKey]);
  const std::array<std::string_view, 6> reply = {
      "1.0",
      request.frames[Request::kId],
      is_allowed ? "200" : "400",
      is_allowed ? "OK" : "the key is not on the executor's list",
      "",
      ""};
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const auto more = i + 1 < reply.size() ? zmq::send_flags::sndmore : zmq::send_flags::none;
    uninterrupted([&] { return socket_.send(zmq::buffer(reply[i]), more); });
  }
}

}  // namespace torch_remote::transport
