// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Opening a session, and losing it for good: one clear error each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/executor/running_server.h"
#include "core/session/byte_program_for_test.h"
#include "core/session/scripted_channel_for_test.h"

namespace torch_remote::session {
namespace {

using executor::byte_executor_factory;
using executor::RunningServer;
using testing::HasSubstr;
using testing::ThrowsMessage;

const SessionOptions kImpatient{.timeouts = {.connect = std::chrono::milliseconds(300)}};

template <typename Error>
void expect_error(const std::function<void()>& action, const std::string& reason) {
  EXPECT_THAT(action, ThrowsMessage<Error>(HasSubstr(reason)));
}

TEST(SessionConnectTest, NobodyAnswers) {
  std::string endpoint;
  {
    const RunningServer server(byte_executor_factory());
    endpoint = server.endpoint();
  }
  expect_error<ConnectError>([&] { ByteProgram program(endpoint, kImpatient); },
                             "no executor answered at " + endpoint);
}

TEST(SessionConnectTest, SomethingElseListensThere) {
  zmq::context_t context;
  zmq::socket_t silent(context, zmq::socket_type::pull);
  silent.bind("tcp://127.0.0.1:0");
  const std::string endpoint = silent.get(zmq::sockopt::last_endpoint);
  // Either side may find out first that they don't fit.
  expect_error<ConnectError>([&] { ByteProgram program(endpoint, kImpatient); }, "is no executor");
}

TEST(SessionConnectTest, CtrlCEndsTheWaitForAnAnswer) {
  struct Interrupted {};
  class Interrupting final : public WaitPolicy {
    void check() override { throw Interrupted(); }
  };
  zmq::context_t context;
  zmq::socket_t silent(context, zmq::socket_type::router);
  silent.bind("tcp://127.0.0.1:0");
  const std::string endpoint = silent.get(zmq::sockopt::last_endpoint);
  const SessionOptions options{.wait_policy = std::make_shared<Interrupting>()};
  EXPECT_THROW(ByteProgram(endpoint, options), Interrupted);
}

TEST(SessionConnectTest, AnotherMajorVersionIsRefused) {
  const RunningServer server(byte_executor_factory());
  const SessionOptions options{.hello = {.version_major = 2}};
  expect_error<ConnectError>([&] { ByteProgram program(server.endpoint(), options); },
                             "protocol version 2 of the client, 1 of the executor");
}

TEST(SessionConnectTest, TheSmallerMinorVersionIsSpoken) {
  const RunningServer server(byte_executor_factory());
  ByteProgram program(server.endpoint(), {.hello = {.version_minor = 7}});
  EXPECT_EQ(program.session().welcome().version_minor, protocol::kVersionMinor);
}

TEST(SessionConnectTest, AnExecutorThatCanNotBeMadeSaysWhy) {
  const auto factory = [](const protocol::Hello& hello) -> std::unique_ptr<executor::Executor> {
    throw std::runtime_error("no device for " + std::to_string(hello.thread_count) + " threads");
  };
  const RunningServer server(factory);
  expect_error<ConnectError>(
      [&] { ByteProgram program(server.endpoint(), {.hello = {.thread_count = 3}}); },
      "no device for 3 threads");
}

TEST(SessionConnectTest, AnExecutorThatWasRestartedHasLostTheTensors) {
  auto server = std::make_unique<RunningServer>(byte_executor_factory());
  const std::string endpoint = server->endpoint();
  ByteProgram program(endpoint);
  const TensorId x = program.make(pattern(16));
  EXPECT_EQ(program.read(x, 16), pattern(16));
  server.reset();
  server =
      std::make_unique<RunningServer>(byte_executor_factory(), executor::ServerOptions{}, endpoint);
  expect_error<SessionLost>([&] { program.read(x, 16); }, "does not know this session");
  expect_error<SessionLost>([&] { program.session().turn(); }, "does not know this session");
  ByteProgram next(endpoint);
  EXPECT_EQ(next.read(next.make(pattern(16)), 16), pattern(16));
}

TEST(SessionConnectTest, AnExecutorThatIsGoneEndsTheSession) {
  auto server = std::make_unique<RunningServer>(byte_executor_factory());
  ByteProgram program(server->endpoint(),
                      {.timeouts = {.reconnect = std::chrono::milliseconds(200)}});
  const TensorId x = program.make(pattern(16));
  EXPECT_EQ(program.read(x, 16), pattern(16));
  server.reset();
  expect_error<SessionLost>([&] { program.read(x, 16); }, "is gone");
}

TEST(SessionConnectTest, AnExecutorThatIsToldToEndSaysSo) {
  RunningServer server(byte_executor_factory());
  ByteProgram program(server.endpoint());
  const TensorId x = program.make(pattern(16));
  EXPECT_EQ(program.read(x, 16), pattern(16));
  server.end("it was switched off");
  expect_error<SessionLost>([&] { program.read(x, 16); }, "it was switched off");
}

TEST(SessionConnectTest, AClientThatBreaksTheProtocolIsToldSo) {
  InProcessProgram program;
  const Bytes rubbish(8, std::byte{0x7F});
  program.session().turn().define_plan(rubbish);
  expect_error<SessionLost>([&] { program.session().synchronize(); }, "ended the session: ");
  // The executor's thread has ended; the reason stays the same.
  expect_error<SessionLost>([&] { program.session().synchronize(); }, "ended the session: ");
}

TEST(SessionConnectTest, AnExecutorThatBreaksTheProtocolEndsTheSession) {
  const std::vector<std::pair<Bytes, const char*>> cases = {
      {Bytes(3, std::byte{9}), "broke the protocol"},
      {Bytes(8, std::byte{9}), "unknown reply kind 9"},
  };
  for (const auto& [body, reason] : cases) {
    auto channel = std::make_unique<ScriptedChannel>();
    channel->welcomes();
    channel->arrives({.kind = protocol::MessageKind::kReplies, .sequence = 1}, body);
    Session session(std::move(channel), "test", 1, {});
    expect_error<SessionLost>([&] { session.synchronize(); }, reason);
  }
}

TEST(SessionConnectTest, APayloadThatDoesNotFitItsReadEndsTheSession) {
  const auto reply = [](std::uint64_t size_bytes, std::uint32_t frames) {
    protocol::ReplyWriter writer;
    writer.byte_frames(0, size_bytes, frames);
    auto message = transport::make_message({.kind = protocol::MessageKind::kReplies, .sequence = 1},
                                           writer.bytes());
    message.frames.push_back(transport::make_frame(Bytes(100)));
    return message;
  };
  const struct {
    std::uint64_t size_bytes;
    std::uint32_t frames;
    const char* reason;
  } cases[] = {
      {100, 1, "another size"}, {16, 1, "too long"}, {16, 2, "too long"}, {200, 2, "another size"}};
  for (const auto& test : cases) {
    auto channel = std::make_unique<ScriptedChannel>();
    ScriptedChannel& script = *channel;
    channel->welcomes();
    Bytes destination(16);
    Session session(std::move(channel), "test", 1, {});
    {
      const auto turn = session.turn();  // the lock: the session's keeper looks at the channel, too
      script.incoming.push_back(reply(test.size_bytes, test.frames));
    }
    EXPECT_THROW(session.read(512, 0, destination), SessionLost) << test.reason;
  }
}

}  // namespace
}  // namespace torch_remote::session
