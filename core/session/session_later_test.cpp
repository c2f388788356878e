// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Reads and writes that no thread waits for, and what holds their memory meanwhile.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <vector>

#include "core/session/byte_program_for_test.h"

namespace torch_remote::session {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

// ZeroMQ's threads drop what they sent a moment after it has arrived.
bool is_dropped(const std::weak_ptr<void>& hold) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!hold.expired() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return hold.expired();
}

TEST(SessionLaterTest, AReadIsThereAfterTheNextWait) {
  Gate gate;
  InProcessProgram program({.before_call = gate.waiter()});
  Session& session = program.session();
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{20'000}, (std::size_t{33} << 20) + 7}) {
    const TensorId x = program->make(pattern(size));
    program->add(x, size, 1);
    auto destination = std::make_shared<Bytes>(size);
    const std::weak_ptr<void> weak = destination;
    const auto round_trips = session.statistics().round_trips;
    session.read_later(x, 0, *destination, destination);
    EXPECT_EQ(session.statistics().round_trips, round_trips);
    if (size == 1) gate.open();
    session.synchronize();
    EXPECT_EQ(*destination, pattern(size, 1));
    destination.reset();
    EXPECT_TRUE(weak.expired());
  }
}

TEST(SessionLaterTest, EveryKindOfWaitComesAfterTheReadsBeforeIt) {
  InProcessProgram program;
  Session& session = program.session();
  const TensorId x = program->make(pattern(100'000));
  const auto expect_read = [&](auto wait) {
    Bytes destination(100'000);
    session.read_later(x, 0, destination, nullptr);
    session.turn().record_event(1, /*with_time=*/false);
    wait();
    EXPECT_EQ(destination, pattern(100'000));
  };
  expect_read([&] { session.synchronize_event(1); });
  expect_read([&] { session.query_event(1); });
  expect_read([&] { session.settle(); });
  expect_read([&] { program->read(x, 1); });
}

TEST(SessionLaterTest, SomebodyTakesAReadThatNobodyEverWaitsFor) {
  InProcessProgram program;
  const TensorId x = program->make(pattern(100'000));
  auto destination = std::make_shared<Bytes>(100'000);
  const std::weak_ptr<void> weak = destination;
  program.session().read_later(x, 0, *destination, destination);
  destination.reset();
  EXPECT_TRUE(is_dropped(weak));
}

TEST(SessionLaterTest, AWriteTakesTheBytesWhereTheyLie) {
  Gate gate;
  InProcessProgram program({.before_call = gate.waiter()});
  Session& session = program.session();
  const TensorId blocker = program->make(pattern(1));
  const TensorId x = session.turn().allocate(3'000'000);
  program->add(blocker, 1, 1);  // the executor waits here
  auto source = std::make_shared<Bytes>(3'000'000);
  const std::weak_ptr<void> weak = source;
  session.write_later(x, 0, *source, source);
  // Which nobody should do: it shows that there is no copy.
  std::ranges::copy(pattern(3'000'000), source->begin());
  source.reset();
  EXPECT_FALSE(weak.expired());
  gate.open();
  EXPECT_EQ(program->read(x, 3'000'000), pattern(3'000'000));
  EXPECT_TRUE(is_dropped(weak));
}

TEST(SessionLaterTest, ASmallWriteIsCopied) {
  InProcessProgram program;
  const TensorId x = program.session().turn().allocate(100);
  auto source = std::make_shared<Bytes>(pattern(100));
  const std::weak_ptr<void> weak = source;
  program.session().write_later(x, 0, *source, source);
  source.reset();
  EXPECT_TRUE(weak.expired());
  EXPECT_EQ(program->read(x, 100), pattern(100));
}

TEST(SessionLaterTest, AReadThatFailsIsToldByTheNextSynchronize) {
  InProcessProgram program;
  Session& session = program.session();
  const TensorId x = program->make(pattern(16));
  program->fail(x, 16, "broken", /*location=*/71);
  EXPECT_THROW(program->read(x, 16), OperationError);
  session.synchronize();  // it was told
  Bytes destination(16);
  session.read_later(x, 0, destination, nullptr);
  session.settle();  // which leaves it
  EXPECT_THAT([&] { session.synchronize(); }, ThrowsMessage<OperationError>(HasSubstr("broken")));
  session.synchronize();
}

TEST(SessionLaterTest, MoreReadsThanMayBeUnderWayWaitForRoom) {
  executor::ByteExecutorOptions options;
  options.limits.bytes_in_flight_max = 100'000;
  InProcessProgram program(options);
  const TensorId x = program->make(pattern(60'000));
  std::vector<Bytes> destinations(20, Bytes(60'000));
  for (Bytes& destination : destinations) {
    program.session().read_later(x, 0, destination, nullptr);
  }
  program.session().synchronize();
  for (const Bytes& destination : destinations) EXPECT_EQ(destination, pattern(60'000));
}

TEST(SessionLaterTest, ASessionThatEndsHoldsNothing) {
  Gate gate;
  InProcessProgram program({.before_call = gate.waiter()},
                           {.timeouts = {.close = std::chrono::milliseconds(1)}});
  Session& session = program.session();
  const TensorId x = program->make(pattern(100'000));
  program->add(x, 100'000, 1);
  auto memory = std::make_shared<Bytes>(100'000);
  const std::weak_ptr<void> weak = memory;
  session.read_later(x, 0, *memory, memory);
  session.close();
  EXPECT_EQ(memory.use_count(), 1);
  gate.open();
  EXPECT_THROW(session.read_later(x, 0, *memory, memory), SessionLost);
  EXPECT_THROW(session.write_later(x, 0, *memory, memory), SessionLost);
  EXPECT_EQ(memory.use_count(), 1);
}

TEST(SessionLaterTest, TimesBetweenEventsComeInOrder) {
  InProcessProgram program;
  Session& session = program.session();
  std::vector<double> times;
  {
    auto turn = session.turn();
    for (EventId event = 1; event <= 3; ++event) turn.record_event(event, /*with_time=*/true);
    turn.record_event(4, /*with_time=*/false);
    const std::vector<EventId> events{1, 2, 3, 4};
    turn.measure(events, {}, [&times](std::size_t index, double time_ms) {
      EXPECT_EQ(index, times.size());
      times.push_back(time_ms);
    });
    for (EventId event = 1; event <= 4; ++event) turn.free_event(event);
  }
  session.settle();
  ASSERT_EQ(times.size(), 3u);
  EXPECT_GE(times[0], 0);
  EXPECT_GE(times[1], 0);
  EXPECT_TRUE(std::isnan(times[2])) << "one of them has no time";
  session.synchronize();  // which is no failure of the program's
}

}  // namespace
}  // namespace torch_remote::session
