// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Many sessions behind one endpoint: apart from each other, bounded, and safe from rubbish.
#include "core/executor/server.h"

#include <future>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/executor/byte_executor_for_test.h"
#include "core/executor/raw_client_for_test.h"
#include "core/executor/running_server.h"
#include "core/session/byte_program_for_test.h"

namespace torch_remote::executor {
namespace {

using protocol::MessageKind;
using protocol::RefusalCode;
using session::ByteProgram;
using session::pattern;
using testing::HasSubstr;

constexpr std::chrono::seconds kLong{20};  // only a broken test waits so long

std::string envelope_text(MessageKind kind) {
  const auto bytes = encode(protocol::Envelope{.kind = kind, .session = 1});
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void expect_works(ByteProgram& program) {
  const TensorId x = program.make(pattern(20'000));
  program.add(x, 20'000, 1);
  EXPECT_EQ(program.read(x, 20'000), pattern(20'000, 1));
}

TEST(ServerTest, PortZeroPicksOneAndATakenOneIsRefused) {
  const RunningServer server(byte_executor_factory());
  EXPECT_THAT(server.endpoint(), testing::MatchesRegex("tcp://127.0.0.1:[1-9][0-9]*"));
  EXPECT_THROW(Server(server.endpoint(), byte_executor_factory()), zmq::error_t);
  EXPECT_THROW(Server("127.0.0.1:0", byte_executor_factory()), std::invalid_argument);
}

TEST(ServerTest, SessionsHaveStoragesOfTheirOwn) {
  const auto count = std::make_shared<std::atomic<std::size_t>>(0);
  const RunningServer server(byte_executor_factory({.storage_count = count}));
  ByteProgram first(server.endpoint());
  ByteProgram second(server.endpoint());
  // Equal programs get equal ids.
  const TensorId x = first.make(pattern(100, 1));
  EXPECT_EQ(second.make(pattern(100, 2)), x);
  first.add(x, 100, 10);
  EXPECT_EQ(second.read(x, 100), pattern(100, 2));
  EXPECT_EQ(first.read(x, 100), pattern(100, 11));
  second.fail(x, 100, "only mine");
  first.session().synchronize();
  EXPECT_EQ(*count, 2u);
  first.session().close();
  EXPECT_THROW(second.session().synchronize(), session::OperationError);
  EXPECT_EQ(second.session().welcome().epoch, first.session().welcome().epoch);
}

TEST(ServerTest, AGoodbyeFreesTheSession) {
  std::promise<void> ended;
  const RunningServer server(byte_executor_factory({.at_end = [&] { ended.set_value(); }}));
  ByteProgram program(server.endpoint());
  expect_works(program);
  program.session().close();
  EXPECT_EQ(ended.get_future().wait_for(kLong), std::future_status::ready);
}

TEST(ServerTest, SessionsBeyondTheLimitAreRefusedUntilOneEnds) {
  const RunningServer server(byte_executor_factory(), {.session_count_max = 2});
  ByteProgram first(server.endpoint());
  ByteProgram second(server.endpoint());
  EXPECT_THAT([&] { ByteProgram third(server.endpoint()); },
              testing::ThrowsMessage<session::ConnectError>(HasSubstr("serves 2 sessions")));
  first.session().close();
  const auto deadline = std::chrono::steady_clock::now() + kLong;
  while (std::chrono::steady_clock::now() < deadline) {
    try {
      ByteProgram third(server.endpoint());
      return expect_works(third);
    } catch (const session::ConnectError&) {  // the goodbye is still under way
    }
  }
  FAIL() << "the first session's place was never free";
}

TEST(ServerTest, ASilentSessionEnds) {
  std::promise<void> ended;
  const RunningServer server(byte_executor_factory({.at_end = [&] { ended.set_value(); }}),
                             {.session_timeout = std::chrono::seconds(1)});
  ByteProgram program(server.endpoint());
  expect_works(program);
  ASSERT_EQ(ended.get_future().wait_for(kLong), std::future_status::ready);
  EXPECT_THAT([&] { program.session().synchronize(); },
              testing::ThrowsMessage<session::SessionLost>(HasSubstr("the session timed out")));
}

TEST(ServerTest, RubbishIsRefusedAndTheServerGoesOn) {
  const RunningServer server(byte_executor_factory());
  ByteProgram program(server.endpoint());
  zmq::context_t context;
  const std::vector<std::vector<std::string>> rubbish = {
      {""},
      {"GET / HTTP/1.1"},
      {std::string(40, '\xFF')},
      {std::string(41, '\0'), "second"},
      std::vector<std::string>(100, "x"),
      {envelope_text(MessageKind::kHello)},
      {envelope_text(MessageKind::kHello), "not a hello"},
      {envelope_text(MessageKind::kCommands), "commands"},
      {envelope_text(MessageKind::kResume)},
      {envelope_text(MessageKind::kWelcome)},
      {envelope_text(MessageKind::kKeepAlive)},
  };
  for (std::size_t i = 0; i < rubbish.size(); ++i) {
    RawClient client(context, server.endpoint(), "sraw" + std::to_string(i));
    client.send_frames(rubbish[i]);
    EXPECT_NE(client.take_refusal().reason, "") << i;
  }
  RawClient silent(context, server.endpoint());
  silent.send_frames({envelope_text(MessageKind::kGoodbye)});  // of no session: nobody to tell
  expect_works(program);
}

TEST(ServerTest, MalformedCommandsEndTheirSessionAlone) {
  const RunningServer server(byte_executor_factory());
  ByteProgram program(server.endpoint());
  zmq::context_t context;
  RawClient client(context, server.endpoint());
  client.open();
  protocol::CommandWriter writer;
  writer.call(7, 8);
  client.commands(writer);
  EXPECT_EQ(client.take_refusal().code, RefusalCode::kMalformed);
  // What arrives while the session's thread ends has nobody to answer it.
  do {
    client.commands(protocol::CommandWriter());
  } while (!client.wait(std::chrono::milliseconds(100)));
  EXPECT_EQ(client.take_refusal().code, RefusalCode::kUnknownSession);
  expect_works(program);
  client.open();  // the place under that routing id is free again
}

TEST(ServerTest, StopEndsEverySession) {
  auto server = std::make_unique<RunningServer>(byte_executor_factory());
  ByteProgram program(server->endpoint(),
                      {.timeouts = {.reconnect = std::chrono::milliseconds(100)}});
  expect_works(program);
  const auto start = std::chrono::steady_clock::now();
  server.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - start, kLong);
}

}  // namespace
}  // namespace torch_remote::executor
