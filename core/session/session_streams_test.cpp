// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Streams, events, several devices, and the executor's counters, as a program sees them of a
// session.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <vector>

#include "core/session/byte_program_for_test.h"
#include "core/session/errors.h"

namespace torch_remote::session {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::ThrowsMessage;

template <typename Action>
void expect_operation_error(Action action, const char* reason) {
  EXPECT_THAT(action, ThrowsMessage<OperationError>(HasSubstr(reason)));
}

TEST(SessionStreamsTest, AStreamIsNamedWhereItChanges) {
  auto streams = std::make_shared<std::vector<std::uint32_t>>();
  {
    InProcessProgram program({.streams = streams});
    const TensorId x = program->make(pattern(8));
    Session& session = program.session();
    session.turn(3).record_event(1, /*with_time=*/false);
    session.turn(3).record_event(2, /*with_time=*/false);
    Bytes bytes(8);
    session.read(x, 0, bytes, 3);
    session.write(x, 0, bytes, 40);
    session.turn().wait_event(1);
    session.synchronize();
  }
  EXPECT_THAT(*streams, ElementsAre(3, 40, 0));
}

TEST(SessionStreamsTest, EventsAreDoneWhenWhatIsBeforeThemIs) {
  Gate gate;
  InProcessProgram program({.before_call = gate.waiter()});
  Session& session = program.session();
  const TensorId x = program->make(pattern(8));
  session.turn().record_event(7, /*with_time=*/true);
  program->add(x, 8, 1);
  session.turn().record_event(8, /*with_time=*/true);
  gate.open();
  session.synchronize_event(8);
  EXPECT_TRUE(session.query_event(8));
  EXPECT_GE(session.elapsed_time_ms(7, 8), 0);
  session.free_event(8);
  expect_operation_error([&] { session.query_event(8); }, "there is no event 8");
  EXPECT_TRUE(session.query_event(7)) << "the session goes on";
}

TEST(SessionStreamsTest, WaitingForAnEventTellsOfFailuresBeforeIt) {
  InProcessProgram program;
  Session& session = program.session();
  const TensorId x = program->make(pattern(8));
  program->fail(x, 8, "out of range", 5);
  session.turn().record_event(1, /*with_time=*/false);
  expect_operation_error([&] { session.synchronize_event(1); }, "out of range");
  EXPECT_NO_THROW(session.synchronize()) << "it was told once";
}

TEST(SessionStreamsTest, WhatCanNotBeIsAnErrorOfThatRequest) {
  InProcessProgram program;
  Session& session = program.session();
  session.turn().record_event(1, /*with_time=*/false);
  session.turn().record_event(2, /*with_time=*/true);
  expect_operation_error([&] { session.elapsed_time_ms(1, 2); }, "enable_timing=True");
  expect_operation_error([&] { session.elapsed_time_ms(3, 2); }, "there is no event 3");
  session.turn().wait_event(99);
  expect_operation_error([&] { session.synchronize(); }, "there is no event 99");
}

TEST(SessionStreamsTest, CountersComeFromTheExecutor) {
  InProcessProgram program;
  const TensorId x = program->make(pattern(8));
  EXPECT_THAT(program.session().memory_statistics(), ElementsAre(Pair("storages", 1)));
  program.session().free(x, 8);
  program.session().empty_cache();
  program.session().reset_peak();
  EXPECT_EQ(program.session().statistics().allocated_bytes_peak, 0u);
  EXPECT_THAT(program.session().memory_statistics(), ElementsAre(Pair("storages", 0)));
}

TEST(SessionStreamsTest, AnEndedSessionAnswersNothing) {
  InProcessProgram program;
  program.session().close();
  program.session().free_event(1);
  program.session().empty_cache();
  EXPECT_THROW(program.session().query_event(1), SessionLost);
  EXPECT_THROW(program.session().memory_statistics(), SessionLost);
}

TEST(SessionStreamsTest, ADeviceIsChosenByItsIndex) {
  SessionOptions options;
  options.hello.device_index = 2;
  {
    InProcessProgram program({.device_count = 3}, options);
    EXPECT_EQ(program.session().welcome().device_index, 2u);
    EXPECT_EQ(program.session().welcome().device_count, 3u);
  }
  EXPECT_THAT(
      [&] { InProcessProgram program({.device_count = 2}, options); },
      ThrowsMessage<ConnectError>(HasSubstr("there is no device 2 here, but 2 counted from 0")));
}

}  // namespace
}  // namespace torch_remote::session
