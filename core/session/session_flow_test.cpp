// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Waiting: bounded flight, Ctrl-C, several threads, and the end of a session.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <thread>

#include "core/session/byte_program_for_test.h"

namespace torch_remote::session {
namespace {

constexpr std::chrono::seconds kLong{20};  // only a broken test waits so long
const LinkTimeouts kHasty{.close = std::chrono::milliseconds(20)};

// Tells when somebody begins to wait, and throws from check() when it is told to.
class WatchedWaits final : public WaitPolicy {
 public:
  struct Interrupted {};

  void* leave() override {
    ++left_;
    return this;
  }
  void resume(void* left) noexcept override {
    EXPECT_EQ(left, this);
    ++resumed_;
  }
  void check() override {
    if (interrupted_.exchange(false)) throw Interrupted();
  }
  void interrupt() { interrupted_ = true; }
  int left() const { return left_; }
  int resumed() const { return resumed_; }
  void wait_for_a_wait(int already_left) const {
    const auto deadline = std::chrono::steady_clock::now() + kLong;
    while (left_ == already_left && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    ASSERT_GT(left_, already_left) << "nobody waits";
  }

 private:
  std::atomic<int> left_{0};
  std::atomic<int> resumed_{0};
  std::atomic<bool> interrupted_{false};
};

TEST(SessionFlowTest, TinyLimitsChangeNothingButTheSpeed) {
  const protocol::Limits limits[] = {{.bytes_in_flight_max = 1},
                                     {.operations_in_flight_max = 1},
                                     {.bytes_in_flight_max = 100, .operations_in_flight_max = 3}};
  for (const protocol::Limits& tiny : limits) {
    InProcessProgram program({.limits = tiny});
    const TensorId x = program->make(pattern(1000));
    const TensorId large = program->make(pattern(200'000));
    for (int i = 0; i < 300; ++i) program->add(x, 1000, 1);
    EXPECT_EQ(program->read(x, 1000), pattern(1000, 300));
    EXPECT_EQ(program->read(large, 200'000), pattern(200'000));
  }
}

TEST(SessionFlowTest, WhatIsInFlightIsBounded) {
  Gate gate;
  const auto waits = std::make_shared<WatchedWaits>();
  InProcessProgram program(
      {.limits = {.operations_in_flight_max = 8}, .before_call = gate.waiter()},
      {.wait_policy = waits});
  const TensorId x = program->make(pattern(16));
  const int already_left = waits->left();
  std::thread appender([&] {
    for (int i = 0; i < 100; ++i) program->add(x, 16, 1);
  });
  waits->wait_for_a_wait(already_left);
  EXPECT_EQ(program.session().statistics().operations, 8u);
  gate.open();
  appender.join();
  EXPECT_EQ(program->read(x, 16), pattern(16, 100));
  EXPECT_EQ(waits->left(), waits->resumed());
}

TEST(SessionFlowTest, CtrlCEndsAWaitAndTheSessionGoesOn) {
  Gate gate;
  const auto waits = std::make_shared<WatchedWaits>();
  InProcessProgram program(
      {.limits = {.operations_in_flight_max = 4}, .before_call = gate.waiter()},
      {.wait_policy = waits});
  const TensorId x = program->make(pattern(300'000));
  program->add(x, 300'000, 1);
  waits->interrupt();
  EXPECT_THROW(program->read(x, 300'000), WatchedWaits::Interrupted);
  waits->interrupt();
  EXPECT_THROW(program.session().synchronize(), WatchedWaits::Interrupted);
  waits->interrupt();
  const auto append_until_interrupted = [&] {
    for (int i = 0; i < 100; ++i) program->add(x, 300'000, 1);
  };
  EXPECT_THROW(append_until_interrupted(), WatchedWaits::Interrupted);
  EXPECT_EQ(waits->left(), waits->resumed());
  const auto added = static_cast<unsigned>(program.session().statistics().operations);
  EXPECT_LE(added, 4u);
  gate.open();
  // The answers to the waits that were given up arrive as well, and reach nobody.
  EXPECT_EQ(program->read(x, 300'000), pattern(300'000, added));
  program.session().synchronize();
}

TEST(SessionFlowTest, SeveralThreadsShareASession) {
  InProcessProgram program({.limits = {.operations_in_flight_max = 64}});
  const TensorId shared = program->make(Bytes(8));
  constexpr int kThreads = 4;
  constexpr int kRounds = 150;
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      const std::size_t size = 500 + 20'000 * thread;
      const TensorId own = program->make(pattern(size, thread));
      for (unsigned i = 1; i <= kRounds; ++i) {
        program->add(own, size, 1);
        program->add(shared, 8, 1);
        if (i % 10 != 0) continue;
        const TensorId copy = program->copy(own, size);
        ASSERT_EQ(program->read(copy, size), pattern(size, thread + i));
        program.session().free(copy, size);
        program.session().synchronize();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(program->read(shared, 8), Bytes(8, static_cast<std::byte>(kThreads * kRounds % 256)));
  EXPECT_EQ(program.session().statistics().storages, 1u + kThreads);
}

TEST(SessionFlowTest, CommandsOfOneTurnStayTogether) {
  InProcessProgram program;
  const TensorId x = program->make(Bytes(8));
  program->add(x, 8, 0);  // plan 0 is defined
  program.session().synchronize();
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 1; thread <= 3; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        auto turn = program.session().turn();
        for (const std::uint64_t amount : {1, 255}) {  // up and down again, unseen by the others
          const std::uint64_t values[] = {x, amount};
          turn.call(0, 0, std::as_bytes(std::span(values)));
        }
      }
    });
  }
  for (int i = 0; i < 50; ++i) EXPECT_EQ(program->read(x, 8), Bytes(8));
  for (std::thread& thread : threads) thread.join();
}

TEST(SessionFlowTest, CloseEndsTheWaitsOfOthers) {
  Gate gate;
  const auto waits = std::make_shared<WatchedWaits>();
  InProcessProgram program({.before_call = gate.waiter()},
                           {.timeouts = kHasty, .wait_policy = waits});
  const TensorId x = program->make(pattern(16));
  program->add(x, 16, 1);
  const int already_left = waits->left();
  auto reading = std::async(std::launch::async, [&] { return program->read(x, 16); });
  waits->wait_for_a_wait(already_left);
  program.session().close();
  EXPECT_THROW(reading.get(), SessionLost);
  gate.open();
}

TEST(SessionFlowTest, NothingWorksAfterCloseButFree) {
  InProcessProgram program;
  const TensorId x = program->make(pattern(16));
  program.session().close();
  EXPECT_THROW(program.session().turn(), SessionLost);
  EXPECT_THROW(program->read(x, 16), SessionLost);
  EXPECT_THROW(program.session().write(x, 0, pattern(16)), SessionLost);
  EXPECT_THROW(program.session().write(x, 0, pattern(100'000)), SessionLost);
  EXPECT_THROW(program.session().synchronize(), SessionLost);
  EXPECT_THROW(program.session().generator_state(0), SessionLost);
  program.session().free(x, 16);
  EXPECT_EQ(program.session().statistics().storages, 0u);
}

TEST(SessionFlowTest, WhatWasAppendedBeforeCloseIsExecuted) {
  const auto count = std::make_shared<std::atomic<int>>(0);
  {
    InProcessProgram program({.before_call = [count] { ++*count; }});
    const TensorId x = program->make(pattern(16));
    for (int i = 0; i < 1000; ++i) program->add(x, 16, 1);
    program.session().close();
  }
  EXPECT_EQ(*count, 1000);
}

TEST(SessionFlowTest, AnExecutorThatIsBusyWhenItsClientLeavesFinishesInPeace) {
  const auto count = std::make_shared<std::atomic<int>>(0);
  std::promise<void> ended;
  Gate gate;
  const auto wait = gate.waiter();
  const executor::InProcessExecutor executor(executor::byte_executor_factory(
      {.before_call = [count, wait] { wait(), ++*count; }, .at_end = [&] { ended.set_value(); }}));
  {
    const std::uint64_t id = next_session_id();
    ByteProgram program(transport::connect_channel(executor.context(), executor.endpoint(), id),
                        executor.endpoint(), id, {.timeouts = kHasty});
    for (int i = 0; i < 20; ++i) {  // a message each, answered by a failure that nobody takes
      const TensorId x = program.make(pattern(20'000));
      program.fail(x, 20'000, "unheard");
    }
  }
  gate.open();
  ASSERT_EQ(ended.get_future().wait_for(kLong), std::future_status::ready);
  EXPECT_EQ(*count, 20);
}

}  // namespace
}  // namespace torch_remote::session
