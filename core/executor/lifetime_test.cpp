// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Executors that end by themselves: by the clock, and with clients that are silent, idle or busy.
#include "core/executor/lifetime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <thread>

#include "core/executor/byte_executor_for_test.h"
#include "core/executor/raw_client_for_test.h"
#include "core/executor/running_server.h"

namespace torch_remote::executor {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using testing::Optional;

const Lifetime::Time kStart{};

TEST(LifetimeTest, GoesOnWithoutLimits) {
  const Lifetime lifetime({}, kStart);
  EXPECT_EQ(lifetime.over(kStart + std::chrono::hours(10'000)), std::nullopt);
}

TEST(LifetimeTest, EndsAfterItsTotal) {
  Lifetime lifetime({.total = seconds(100)}, kStart);
  lifetime.heard(kStart + seconds(99));
  lifetime.worked(kStart + seconds(99));
  EXPECT_EQ(lifetime.over(kStart + seconds(99)), std::nullopt);
  EXPECT_THAT(lifetime.over(kStart + seconds(100)), Optional(HasSubstr("lifetime of 100 s")));
}

TEST(LifetimeTest, EndsWhenNothingIsHeard) {
  Lifetime lifetime({.lease = seconds(30)}, kStart);
  EXPECT_THAT(lifetime.over(kStart + seconds(30)), Optional(HasSubstr("lease")));
  lifetime.heard(kStart + seconds(29));
  EXPECT_EQ(lifetime.over(kStart + seconds(58)), std::nullopt);
  EXPECT_THAT(lifetime.over(kStart + seconds(59)), Optional(HasSubstr("30 s")));
}

TEST(LifetimeTest, EndsWhenNothingIsComputedThoughClientsLive) {
  Lifetime lifetime({.idle = seconds(60), .lease = seconds(30)}, kStart);
  lifetime.worked(kStart + seconds(10));
  for (int second = 10; second < 70; second += 5) {
    lifetime.heard(kStart + seconds(second));
    EXPECT_EQ(lifetime.over(kStart + seconds(second)), std::nullopt);
  }
  EXPECT_THAT(lifetime.over(kStart + seconds(70)), Optional(HasSubstr("idle timeout")));
}

TEST(LifetimeTest, AServerWithoutClientsEnds) {
  Server server("tcp://127.0.0.1:0", byte_executor_factory(), {.lifetime = {.lease = seconds(1)}});
  const std::atomic<bool> stop{false};
  EXPECT_THAT(server.run(stop), HasSubstr("lease"));
}

TEST(LifetimeTest, AClientThatOnlyLivesDoesNotKeepAServerBusy) {
  Server server("tcp://127.0.0.1:0", byte_executor_factory(),
                {.lifetime = {.idle = seconds(1), .lease = seconds(20)}});
  std::atomic<bool> stop{false};
  std::thread living([&] {
    zmq::context_t context;
    RawClient client(context, server.endpoint());
    client.open();
    while (!stop) {
      client.send({.kind = protocol::MessageKind::kKeepAlive});
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  const std::atomic<bool> never{false};
  EXPECT_THAT(server.run(never), HasSubstr("idle timeout"));
  stop = true;
  living.join();
}

// Computes nothing for longer than the idle timeout, in one operation.
class SlowExecutor final : public ByteExecutor {
 public:
  using ByteExecutor::ByteExecutor;
  void synchronize() override { std::this_thread::sleep_for(std::chrono::milliseconds(2500)); }
};

TEST(LifetimeTest, ALongOperationIsNoIdleness) {
  const ExecutorFactory slow = [](const protocol::Hello&) {
    return std::make_unique<SlowExecutor>(ByteExecutorOptions{});
  };
  Server server("tcp://127.0.0.1:0", slow, {.lifetime = {.idle = seconds(1)}});
  bool is_answered = false;
  std::thread working([&] {
    zmq::context_t context;
    RawClient client(context, server.endpoint());
    client.open();
    protocol::CommandWriter writer;
    writer.synchronize(1);
    client.commands(writer);
    is_answered = client.take(protocol::MessageKind::kReplies).frames.size() == 1;
  });
  const std::atomic<bool> never{false};
  EXPECT_THAT(server.run(never), HasSubstr("idle timeout"));
  working.join();
  EXPECT_TRUE(is_answered);
}

}  // namespace
}  // namespace torch_remote::executor
