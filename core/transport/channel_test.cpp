// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The client's end of a connection over each scheme: messages, waits, wakes and broken connections.
#include "core/transport/channel.h"

#include <filesystem>
#include <future>
#include <gtest/gtest.h>
#include <string>
#include <thread>

#include "core/transport/tcp_proxy_for_test.h"

namespace torch_remote::transport {
namespace {

using protocol::MessageKind;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kSession = 0x0102030405060708;
constexpr milliseconds kLong{20'000};  // only a broken test waits so long

// What a Server has: a ROUTER that answers whoever speaks.
class Peer {
 public:
  Peer(zmq::context_t& context, const std::string& endpoint)
      : router_(context, zmq::socket_type::router) {
    router_.set(zmq::sockopt::linger, 0);
    router_.set(zmq::sockopt::router_handover, true);
    router_.set(zmq::sockopt::rcvtimeo, static_cast<int>(kLong.count()));
    router_.bind(endpoint);
    endpoint_ = router_.get(zmq::sockopt::last_endpoint);
  }
  const std::string& endpoint() const { return endpoint_; }

  // Waits for a message and remembers whose it was.
  Message take() {
    EXPECT_TRUE(router_.recv(routing_id_)) << "nothing came";
    Message message;
    receive_rest(router_, message);
    return message;
  }
  std::string routing_id() const { return routing_id_.to_string(); }
  void answer(MessageKind kind) {
    router_.send(zmq::buffer(routing_id()), zmq::send_flags::sndmore);
    Message message = make_message({.kind = kind, .session = kSession}, {});
    send(router_, message);
  }

 private:
  zmq::socket_t router_;
  zmq::message_t routing_id_;
  std::string endpoint_;
};

void send_kind(Channel& channel, MessageKind kind) {
  Message message = make_message({.kind = kind, .session = kSession}, {});
  channel.send(message);
}

// Follows the rules of wait(): it is called only after receive() has said that nothing is there.
MessageKind wait_for_message(Channel& channel) {
  Message message;
  const auto deadline = Clock::now() + kLong;
  while (!channel.receive(message)) {
    if (Clock::now() > deadline) throw std::runtime_error("no message came");
    channel.wait(kLong);
  }
  return message.envelope.kind;
}

void wait_for_event(Channel& channel, ConnectionEvent wanted) {
  const auto deadline = Clock::now() + kLong;
  while (Clock::now() < deadline) {
    const ConnectionEvent event = channel.next_event();
    if (event == wanted) return;
    if (event == ConnectionEvent::kNone) channel.wait(milliseconds(5));
  }
  FAIL() << "the event did not come";
}

class ChannelTest : public testing::TestWithParam<const char*> {
 protected:
  static std::string endpoint() {
    if (std::string(GetParam()) == "tcp") return "tcp://127.0.0.1:0";
    if (std::string(GetParam()) == "inproc") return "inproc://peer";
    const auto folder = std::filesystem::temp_directory_path();
    return "ipc://" + (folder / ("torch-remote-test-" + std::to_string(::getpid()))).string();
  }
  std::shared_ptr<zmq::context_t> context_ = std::make_shared<zmq::context_t>();
  Peer peer_{*context_, endpoint()};
  std::unique_ptr<Channel> channel_ = connect_channel(context_, peer_.endpoint(), kSession);
};

TEST_P(ChannelTest, SendsAndReceives) {
  send_kind(*channel_, MessageKind::kHello);
  EXPECT_EQ(peer_.take().envelope.kind, MessageKind::kHello);
  EXPECT_EQ(peer_.routing_id(), "s\x08\x07\x06\x05\x04\x03\x02\x01");
  peer_.answer(MessageKind::kWelcome);
  peer_.answer(MessageKind::kReplies);
  EXPECT_EQ(wait_for_message(*channel_), MessageKind::kWelcome);
  EXPECT_EQ(wait_for_message(*channel_), MessageKind::kReplies);
}

TEST_P(ChannelTest, WakeEndsTheWaitThatRunsOrTheNext) {
  const auto start = Clock::now();
  channel_->wake();
  channel_->wait(kLong);
  auto waiting = std::async(std::launch::async, [&] { channel_->wait(kLong); });
  channel_->wake();
  waiting.get();
  EXPECT_LT(Clock::now() - start, kLong);
  // The wake-ups are used up. What still ends a wait is ZeroMQ's own business (it has connected,
  // say), which receive() looks after.
  Message message;
  auto waited = Clock::duration::zero();
  while (waited < milliseconds(15)) {
    ASSERT_LT(Clock::now() - start, kLong);
    EXPECT_FALSE(channel_->receive(message));
    const auto before = Clock::now();
    channel_->wait(milliseconds(20));
    waited = Clock::now() - before;
  }
}

// ZeroMQ signals an arrival once. Sending looks at the same signals, and must not use them up.
TEST_P(ChannelTest, AMessageThatArrivesAroundASendEndsTheWait) {
  send_kind(*channel_, MessageKind::kHello);
  for (int i = 0; i < 10; ++i) {
    peer_.take();
    Message message;
    while (channel_->receive(message)) {
    }
    peer_.answer(MessageKind::kReplies);
    channel_->wait(kLong);  // until it has arrived; then the signal is there, unused
    // A send looks at the signals when it has not done so for a millisecond.
    std::this_thread::sleep_for(milliseconds(3));
    send_kind(*channel_, MessageKind::kAcknowledge);
    const auto before = Clock::now();
    channel_->wait(kLong);
    ASSERT_LT(Clock::now() - before, kLong / 2) << "in round " << i;
    ASSERT_EQ(wait_for_message(*channel_), MessageKind::kReplies);
    send_kind(*channel_, MessageKind::kKeepAlive);
    peer_.take();
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, ChannelTest, testing::Values("inproc", "ipc", "tcp"),
                         [](const auto& scheme) { return std::string(scheme.param); });

TEST(ChannelConnectionTest, ABrokenConnectionIsReportedAndComesBack) {
  auto context = std::make_shared<zmq::context_t>();
  Peer peer(*context, "tcp://127.0.0.1:0");
  TcpProxy proxy(peer.endpoint());
  const auto channel = connect_channel(context, proxy.endpoint(), kSession);
  wait_for_event(*channel, ConnectionEvent::kConnected);
  send_kind(*channel, MessageKind::kHello);
  peer.take();
  for (int i = 1; i <= 2; ++i) {
    proxy.cut();
    wait_for_event(*channel, ConnectionEvent::kDisconnected);
    wait_for_event(*channel, ConnectionEvent::kConnected);
    EXPECT_EQ(proxy.connections(), i + 1);
    send_kind(*channel, MessageKind::kResume);
    EXPECT_EQ(peer.take().envelope.kind, MessageKind::kResume);
    peer.answer(MessageKind::kResumed);  // the same routing id names the new connection
    EXPECT_EQ(wait_for_message(*channel), MessageKind::kResumed);
  }
}

TEST(ChannelConnectionTest, InprocHasNoConnectionToLose) {
  auto context = std::make_shared<zmq::context_t>(0);
  Peer peer(*context, "inproc://peer");
  const auto channel = connect_channel(context, "inproc://peer", kSession);
  EXPECT_EQ(channel->next_event(), ConnectionEvent::kNone);
}

TEST(ChannelConnectionTest, AMalformedEndpointIsRefusedAtOnce) {
  auto context = std::make_shared<zmq::context_t>();
  EXPECT_THROW(connect_channel(context, "host:5555", kSession), std::invalid_argument);
  EXPECT_THROW(connect_channel(context, "tcp://host:0", kSession), std::invalid_argument);
}

}  // namespace
}  // namespace torch_remote::transport
