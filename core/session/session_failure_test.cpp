// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Failures of operations: whom they reach, once, with the original reason and place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/session/byte_program_for_test.h"

namespace torch_remote::session {
namespace {

// What action throws; fails the test when it is nothing.
template <typename Action>
OperationError error_of(Action action) {
  try {
    action();
  } catch (const OperationError& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return OperationError({}, 0);
}

TEST(SessionFailureTest, WhatDependsOnAFailureRaisesTheOriginal) {
  InProcessProgram program;
  const TensorId x = program->make(pattern(16));
  const TensorId other = program->make(pattern(16));
  program->fail(x, 16, "broken", /*location=*/71);
  const TensorId y = program->copy(x, 16, /*location=*/72);
  const TensorId z = program->copy(y, 16, /*location=*/73);
  program->add(other, 16, 1);
  for (const TensorId id : {x, y, z}) {
    const OperationError error = error_of([&] { program->read(id, 16); });
    EXPECT_STREQ(error.what(), "broken");
    EXPECT_EQ(error.failure().kind, protocol::ErrorKind::kIndex);
    EXPECT_EQ(error.failure().operator_name, "test::fail");
    EXPECT_EQ(error.location(), 71u);
  }
  EXPECT_EQ(program->read(other, 16), pattern(16, 1)) << "what does not depend on it goes on";
  program.session().synchronize();  // the reads have told of it already
}

TEST(SessionFailureTest, SynchronizeRaisesTheFirstOnceAndTheSessionGoesOn) {
  InProcessProgram program;
  const TensorId x = program->make(pattern(16));
  const TensorId y = program->make(pattern(16));
  program->fail(x, 16, "first", 1);
  program->fail(y, 16, "second", 2);
  program->fail(y, 16, "third, of a tensor that has failed", 3);
  const OperationError error = error_of([&] { program.session().synchronize(); });
  EXPECT_STREQ(error.what(), "first");
  EXPECT_EQ(error.location(), 1u);
  program.session().synchronize();
  EXPECT_STREQ(error_of([&] { program->read(y, 16); }).what(), "second");
  EXPECT_EQ(program->read(program->make(pattern(4)), 4), pattern(4));
}

TEST(SessionFailureTest, AFreedIdForgetsItsFailure) {
  InProcessProgram program;
  const TensorId x = program->make(pattern(16));
  program->fail(x, 16, "broken");
  const TensorId y = program->copy(x, 16);
  program.session().free(x, 16);
  program.session().free(y, 16);
  EXPECT_THROW(program.session().synchronize(), OperationError);
  program.session().synchronize();
}

TEST(SessionFailureTest, ADescribingCallRaisesAtOnce) {
  InProcessProgram program;
  const TensorId wrong = program->make(pattern(16, 200));
  const OperationError own = error_of([&] { program->describe(wrong, 16, 5); });
  EXPECT_EQ(own.failure().kind, protocol::ErrorKind::kValue);
  EXPECT_EQ(own.failure().operator_name, "test::describe");
  EXPECT_EQ(own.location(), 5u);
  program->fail(wrong, 16, "broken", 6);
  const OperationError inherited = error_of([&] { program->describe(wrong, 16, 7); });
  EXPECT_STREQ(inherited.what(), "broken");
  EXPECT_EQ(inherited.location(), 6u);
  program.session().synchronize();
}

TEST(SessionFailureTest, AnOperatorThatTheExecutorLacksFailsByName) {
  InProcessProgram program;
  protocol::ByteWriter plan;
  put_plan(plan, {.plan = 100, .operator_number = 50});
  {
    auto turn = program.session().turn();
    turn.define_operator(50, 1, "aten::nothing", "out");
    turn.define_plan(plan.bytes());
  }
  program.session().synchronize();  // a definition alone is no failure
  for (const std::uint32_t location : {8u, 9u}) {
    program.session().turn().call(100, location, {});
    const OperationError error = error_of([&] { program.session().synchronize(); });
    EXPECT_EQ(error.failure().kind, protocol::ErrorKind::kUnknownOperator);
    EXPECT_EQ(error.failure().operator_name, "aten::nothing.out");
    EXPECT_EQ(error.location(), location);
  }
}

TEST(SessionFailureTest, AFailureKeepsItsPlaceHoweverLateItIsRead) {
  InProcessProgram program({.limits = {.operations_in_flight_max = 8}});
  const TensorId x = program->make(pattern(4));
  const TensorId y = program->make(pattern(4));
  program->fail(x, 4, "broken", 1234);
  for (int i = 0; i < 100; ++i) program->add(y, 4, 1, 1);
  const OperationError at_synchronize = error_of([&] { program.session().synchronize(); });
  EXPECT_EQ(at_synchronize.location(), 1234u);
  for (int i = 0; i < 100; ++i) program->add(y, 4, 1, 2);
  EXPECT_EQ(error_of([&] { program->read(x, 4); }).location(), 1234u);
}

TEST(SessionFailureTest, AFailureThatIsNoCallSaysWhatItWas) {
  InProcessProgram program;
  const TensorId x = program->make(pattern(16));
  program.session().write(x, 10, pattern(10));
  const OperationError error = error_of([&] { program.session().synchronize(); });
  EXPECT_EQ(error.failure().operator_name, "write");
  EXPECT_EQ(error.failure().kind, protocol::ErrorKind::kIndex);
  EXPECT_EQ(error.location(), 0u);
  EXPECT_THROW(program->read(x, 16), OperationError) << "what was to be written is lost";

  const TensorId y = program->make(pattern(16));
  EXPECT_THROW(program->read(y, 17), OperationError);
  EXPECT_EQ(program->read(y, 16), pattern(16)) << "a wrong read changes nothing";
  program.session().turn().set_generator_state(0, pattern(3));
  EXPECT_EQ(error_of([&] { program.session().synchronize(); }).failure().operator_name,
            "set generator state");
}

TEST(SessionFailureTest, CloseReturnsWhatNobodyHasSeen) {
  InProcessProgram program;
  const TensorId x = program->make(pattern(16));
  const TensorId y = program->make(pattern(16));
  program->fail(x, 16, "unseen", 1);
  program->fail(y, 16, "seen", 2);
  EXPECT_THROW(program->read(y, 16), OperationError);
  const auto unseen = program.session().close();
  ASSERT_EQ(unseen.size(), 1u);
  EXPECT_EQ(unseen[0].message, "unseen");
  EXPECT_TRUE(program.session().close().empty());
}

}  // namespace
}  // namespace torch_remote::session
