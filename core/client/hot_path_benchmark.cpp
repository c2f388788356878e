// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A program for callgrind: N repeated operations on a device behind which nothing is, so that what
// is counted is the client alone. bench/instructions.py runs it twice and divides the difference.
//
// Usage: client_hot_path_benchmark N
#include <ATen/core/Tensor.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sigmoid.h>
#include <c10/core/InferenceMode.h>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <thread>
#include <utility>

#include "core/client/device.h"
#include "core/client/hooks.h"
#include "core/protocol/hello.h"
#include "core/session/session.h"
#include "core/transport/channel.h"

namespace {

using torch_remote::protocol::MessageKind;
using torch_remote::transport::ConnectionEvent;
using torch_remote::transport::Message;

// Welcomes every session and acknowledges every batch, without a thread or a socket.
class SwallowingChannel final : public torch_remote::transport::Channel {
 public:
  void send(Message& message) override {
    if (message.envelope.kind == MessageKind::kHello) {
      const torch_remote::protocol::Welcome welcome;
      answers_.push_back(
          torch_remote::transport::make_message({.kind = MessageKind::kWelcome}, encode(welcome)));
    } else if (message.envelope.kind == MessageKind::kCommands) {
      answers_.push_back({.envelope = {.kind = MessageKind::kAcknowledge,
                                       .acknowledged = message.envelope.sequence},
                          .frames = {}});
    }
  }
  bool receive(Message& message) override {
    if (answers_.empty()) return false;
    message = std::move(answers_.front());
    answers_.pop_front();
    return true;
  }
  ConnectionEvent next_event() override { return ConnectionEvent::kNone; }
  void wait(std::chrono::milliseconds timeout) override { std::this_thread::sleep_for(timeout); }
  void wake() override {}

 private:
  std::deque<Message> answers_;
};

void make_device() {
  auto session = std::make_unique<torch_remote::session::Session>(
      std::make_unique<SwallowingChannel>(), "nowhere", std::uint64_t{1},
      torch_remote::session::SessionOptions());
  torch_remote::client::register_device(
      std::make_unique<torch_remote::client::Device>(0, std::move(session), nullptr));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: client_hot_path_benchmark OPERATIONS\n");
    return 2;
  }
  const long operations = std::strtol(argv[1], nullptr, 10);
  torch_remote::client::register_hooks();
  make_device();
  const c10::InferenceMode no_autograd;
  const auto on_device = at::TensorOptions().device(c10::DeviceType::PrivateUse1);
  const at::Tensor left = at::empty({16, 16}, on_device);
  const at::Tensor right = at::empty({16, 16}, on_device);
  for (long done = 0; done < operations; done += 3) {
    at::add(left, right);
    at::mm(left, right);
    at::sigmoid(left);
  }
  torch_remote::client::device_at(0).stop();
  return 0;
}
