// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The stream's rules, one message at a time: handshake, sequences, acknowledgements and replay.
#include "core/session/link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/session/errors.h"
#include "core/session/scripted_channel_for_test.h"

namespace torch_remote::session {
namespace {

using protocol::MessageKind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;
using transport::ConnectionEvent;
using transport::Message;

class LinkTest : public testing::Test {
 protected:
  LinkTest() {
    auto channel = std::make_unique<ScriptedChannel>();
    channel_ = channel.get();
    link_.emplace(std::move(channel), "tcp://test:1", 99, timeouts_);
  }
  void open() {
    channel_->welcomes();
    link_->open({}, [](std::chrono::milliseconds) { FAIL() << "the answer is there"; });
    channel_->sent.clear();
  }
  void send_commands(int count) {
    for (int i = 0; i < count; ++i) link_->send(transport::make_message({}, {}), 1);
  }
  // The sequences of the replies that were delivered.
  std::vector<std::uint64_t> receive() {
    std::vector<std::uint64_t> delivered;
    link_->receive([&](Message& message) { delivered.push_back(message.envelope.sequence); });
    return delivered;
  }
  void replies(std::uint64_t sequence, std::uint64_t acknowledged = 0) {
    channel_->arrives(
        {.kind = MessageKind::kReplies, .sequence = sequence, .acknowledged = acknowledged});
  }
  std::vector<MessageKind> sent_kinds() {
    std::vector<MessageKind> kinds;
    for (const auto& envelope : channel_->sent) kinds.push_back(envelope.kind);
    channel_->sent.clear();
    return kinds;
  }
  template <typename Error>
  void expect_open_error(const char* reason) {
    EXPECT_THAT([&] { link_->open({}, [](std::chrono::milliseconds) {}); },
                ThrowsMessage<Error>(HasSubstr(reason)));
  }

  LinkTimeouts timeouts_{.connect = std::chrono::milliseconds(1),
                         .reconnect = std::chrono::milliseconds(0)};
  ScriptedChannel* channel_ = nullptr;
  std::optional<Link> link_;
};

TEST_F(LinkTest, AnExecutorThatDoesNotKnowOfDevicesIsRefused) {
  channel_->welcomes();
  EXPECT_THAT([&] { link_->open({.device_index = 1}, [](std::chrono::milliseconds) {}); },
              ThrowsMessage<ConnectError>(HasSubstr("gave its device 0 instead of 1")));
}

TEST_F(LinkTest, OpensWithAHello) {
  channel_->arrives({.kind = MessageKind::kAcknowledge});  // is no answer
  channel_->welcomes({.epoch = 5});
  link_->open({}, [](std::chrono::milliseconds) {});
  EXPECT_EQ(link_->welcome().epoch, 5u);
  ASSERT_EQ(channel_->sent.size(), 1u);
  EXPECT_EQ(channel_->sent[0], (protocol::Envelope{.kind = MessageKind::kHello, .session = 99}));
}

TEST_F(LinkTest, NoAnswerIsAConnectError) {
  expect_open_error<ConnectError>("no executor answered at tcp://test:1 within 1 ms");
}

TEST_F(LinkTest, ARefusalSaysWhy) {
  channel_->arrives({.kind = MessageKind::kRefused}, encode(protocol::Refusal{.reason = "full"}));
  expect_open_error<ConnectError>("refused the session: full");
}

TEST_F(LinkTest, AWelcomeOfAnotherMajorVersionIsNone) {
  channel_->welcomes({.version_major = 2});
  expect_open_error<ConnectError>("speaks protocol version 2, this client 1");
}

TEST_F(LinkTest, AMalformedAnswerIsNoExecutor) {
  channel_->arrives({.kind = MessageKind::kWelcome}, std::vector<std::byte>(7));
  expect_open_error<ConnectError>("is no executor of torch-remote");
}

TEST_F(LinkTest, RepliesAreDeliveredOnceInOrder) {
  open();
  replies(1);
  replies(2);
  replies(2);
  replies(1);
  replies(3);
  EXPECT_THAT(receive(), ElementsAre(1, 2, 3));
  link_->acknowledge();
  ASSERT_EQ(channel_->sent.size(), 1u);
  EXPECT_EQ(channel_->sent[0].kind, MessageKind::kAcknowledge);
  EXPECT_EQ(channel_->sent[0].acknowledged, 3u);
  link_->acknowledge();
  EXPECT_EQ(channel_->sent.size(), 1u) << "the executor knows already";
}

TEST_F(LinkTest, AGapAsksForWhatIsMissing) {
  open();
  replies(1);
  replies(3);
  EXPECT_THAT(receive(), ElementsAre(1));
  ASSERT_EQ(channel_->sent.size(), 1u);
  EXPECT_EQ(channel_->sent[0].kind, MessageKind::kResume);
  EXPECT_EQ(channel_->sent[0].acknowledged, 1u);
  replies(2);
  replies(3);
  EXPECT_THAT(receive(), ElementsAre(2, 3));
}

TEST_F(LinkTest, ResumedReplaysWhatTheExecutorLacks) {
  open();
  send_commands(4);
  replies(1, /*acknowledged=*/1);
  receive();
  EXPECT_EQ(link_->window().message_count(), 3u);
  channel_->sent.clear();
  channel_->arrives({.kind = MessageKind::kResumed, .sequence = 3, .acknowledged = 2});
  receive();
  ASSERT_EQ(channel_->sent.size(), 2u);
  EXPECT_EQ(channel_->sent[0].sequence, 3u);
  EXPECT_EQ(channel_->sent[0].acknowledged, 1u) << "what is replayed acknowledges anew";
  EXPECT_EQ(channel_->sent[1].sequence, 4u);
  channel_->arrives({.kind = MessageKind::kAcknowledge, .acknowledged = 4});
  receive();
  EXPECT_TRUE(link_->window().empty());
}

TEST_F(LinkTest, AReconnectResumesAndAConnectDoesNot) {
  open();
  channel_->events = {ConnectionEvent::kConnected};
  receive();
  EXPECT_THAT(sent_kinds(), IsEmpty());
  channel_->events = {ConnectionEvent::kDisconnected, ConnectionEvent::kDisconnected,
                      ConnectionEvent::kConnected};
  receive();
  EXPECT_THAT(sent_kinds(), ElementsAre(MessageKind::kResume));
}

TEST_F(LinkTest, AConnectionThatStaysBrokenIsTheEnd) {
  open();
  channel_->events = {ConnectionEvent::kDisconnected};
  const auto receive_for_long = [&] {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < deadline) receive();
  };
  EXPECT_THAT(receive_for_long, ThrowsMessage<SessionLost>(HasSubstr("did not come back")));
}

TEST_F(LinkTest, TheEndOfTheSessionSaysWhy) {
  const struct {
    protocol::Envelope envelope;
    std::vector<std::byte> body;
    const char* reason;
  } cases[] = {
      {{.kind = MessageKind::kRefused},
       encode(protocol::Refusal{.reason = "restarted"}),
       "ended the session: restarted"},
      {{.kind = MessageKind::kRefused}, {}, "broke the protocol"},
      {{.kind = MessageKind::kAcknowledge, .acknowledged = 1}, {}, "never sent"},
      {{.kind = MessageKind::kReplies, .sequence = 1, .acknowledged = 7}, {}, "never sent"},
      {{.kind = MessageKind::kResumed, .sequence = 0}, {}, "can't be replayed"},
      {{.kind = MessageKind::kResumed, .sequence = 5}, {}, "can't be replayed"},
  };
  open();
  for (const auto& test : cases) {
    channel_->arrives(test.envelope, test.body);
    EXPECT_THAT([&] { receive(); }, ThrowsMessage<SessionLost>(HasSubstr(test.reason)));
  }
}

TEST_F(LinkTest, WhatAnExecutorNeverSendsIsIgnored) {
  open();
  for (const auto kind : {MessageKind::kWelcome, MessageKind::kHello, MessageKind::kCommands,
                          MessageKind::kGoodbye, MessageKind::kKeepAlive}) {
    channel_->arrives({.kind = kind, .sequence = 1, .acknowledged = 55});
  }
  EXPECT_THAT(receive(), IsEmpty());
  EXPECT_THAT(sent_kinds(), IsEmpty());
}

}  // namespace
}  // namespace torch_remote::session
