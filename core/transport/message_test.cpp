// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Messages through a socket: frames shared and not copied, and what is no message.
#include "core/transport/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <string>

#include "core/protocol/bytes.h"

namespace torch_remote::transport {
namespace {

using protocol::MessageKind;
using protocol::ProtocolError;

class MessageTest : public testing::Test {
 protected:
  MessageTest()
      : sender_(context_, zmq::socket_type::pair), receiver_(context_, zmq::socket_type::pair) {
    receiver_.bind("inproc://test");
    sender_.connect("inproc://test");
  }
  void send_raw(const std::vector<std::string>& frames) {
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const auto more = i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none;
      sender_.send(zmq::buffer(frames[i]), more);
    }
  }
  static std::string envelope() {
    const auto bytes = encode(protocol::Envelope{.kind = MessageKind::kCommands, .session = 7});
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  zmq::context_t context_;
  zmq::socket_t sender_;
  zmq::socket_t receiver_;
};

std::span<const std::byte> bytes_of_text(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST_F(MessageTest, ComesBackWithItsFrames) {
  Message message = make_message({.kind = MessageKind::kReplies, .session = 9, .sequence = 4},
                                 bytes_of_text("body"));
  message.frames.push_back(make_frame(std::vector<std::byte>(1 << 20, std::byte{5})));
  message.frames.push_back(make_frame({}));
  EXPECT_EQ(message.size_bytes(), 40u + 4u + (1u << 20));
  send(sender_, message);
  EXPECT_EQ(message.payload_count(), 2u) << "the sender keeps its frames for replay";

  Message back;
  ASSERT_TRUE(receive(receiver_, back));
  EXPECT_EQ(back.envelope, message.envelope);
  EXPECT_TRUE(std::ranges::equal(back.body(), bytes_of_text("body")));
  ASSERT_EQ(back.payload_count(), 2u);
  EXPECT_EQ(back.payload(0).data(), message.payload(0).data()) << "inproc shares the bytes";
  EXPECT_EQ(back.payload(1).size(), 0u);
  EXPECT_FALSE(receive(receiver_, back));
}

TEST_F(MessageTest, ABorrowedFrameHoldsItsBytes) {
  auto bytes = std::make_shared<std::string>("borrowed");
  const std::weak_ptr<std::string> weak = bytes;
  {
    Message message = make_message({.kind = MessageKind::kReplies}, bytes_of_text("body"));
    message.frames.push_back(borrow_frame(bytes_of_text(*bytes), bytes));
    EXPECT_EQ(static_cast<const void*>(message.payload(0).data()), bytes->data());
    send(sender_, message);
    bytes.reset();
  }
  Message received;
  ASSERT_TRUE(receive(receiver_, received));
  EXPECT_FALSE(weak.expired());
  EXPECT_EQ(bytes_of(received.frames.at(1)).size(), 8u);
  received.frames.clear();
  EXPECT_TRUE(weak.expired());
}

TEST_F(MessageTest, AnEnvelopeAloneIsAMessage) {
  Message message = make_message({.kind = MessageKind::kKeepAlive, .session = 1}, {});
  send(sender_, message);
  Message back = make_message({}, bytes_of_text("left over"));
  ASSERT_TRUE(receive(receiver_, back));
  EXPECT_TRUE(back.frames.empty());
  EXPECT_TRUE(back.body().empty());
  EXPECT_EQ(back.payload_count(), 0u);
}

TEST_F(MessageTest, WhatIsNoMessageIsConsumed) {
  std::vector<std::string> too_many(67, "x");
  too_many[0] = envelope();
  const std::vector<std::vector<std::string>> wrong = {{""},
                                                       {"short", "second", "third"},
                                                       {std::string(40, 'x')},
                                                       {envelope() + "x", "y"},
                                                       too_many};
  for (const auto& frames : wrong) {
    send_raw(frames);
    send_raw({envelope(), "next"});
    Message message;
    EXPECT_THROW(receive(receiver_, message), ProtocolError);
    ASSERT_TRUE(receive(receiver_, message)) << "the next message is whole";
    EXPECT_TRUE(std::ranges::equal(message.body(), bytes_of_text("next")));
    EXPECT_FALSE(receive(receiver_, message));
  }
  too_many.resize(66);  // the envelope, the body and 64 payload frames
  send_raw(too_many);
  Message message;
  ASSERT_TRUE(receive(receiver_, message));
  EXPECT_EQ(message.payload_count(), 64u);
}

TEST_F(MessageTest, TheRestHasToBeThere) {
  Message message;
  EXPECT_THROW(receive_rest(receiver_, message), ProtocolError);
}

}  // namespace
}  // namespace torch_remote::transport
