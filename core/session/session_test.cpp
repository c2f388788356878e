// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a program sees of a session: its operations in order, and the bytes that it wrote.
#include "core/session/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/session/byte_program_for_test.h"

namespace torch_remote::session {
namespace {

TEST(SessionTest, OperationsHappenInProgramOrder) {
  InProcessProgram program;
  const TensorId x = program->make(pattern(100));
  program->add(x, 100, 1);
  const TensorId y = program->copy(x, 100);
  program->add(x, 100, 10);
  const TensorId z = program->copy(x, 100);
  program.session().write(x, 50, pattern(50, 200));
  program->add(x, 100, 1);
  EXPECT_EQ(program->read(y, 100), pattern(100, 1));
  EXPECT_EQ(program->read(z, 100), pattern(100, 11));
  EXPECT_EQ(program->read(x, 50), pattern(50, 12));
  EXPECT_EQ(program->read(x, 50, 50), pattern(50, 201));
}

TEST(SessionTest, WritesAndReadsOfEverySizeComeBack) {
  InProcessProgram program;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{16 * 1024}, std::size_t{16 * 1024 + 1},
        std::size_t{1 << 20}, std::size_t{3 * (1 << 20) + 5}}) {
    const TensorId id = program->make(pattern(size));
    EXPECT_EQ(program->read(id, size), pattern(size)) << size;
    program.session().free(id, size);
  }
}

TEST(SessionTest, ManyLargeWritesShareMessages) {
  InProcessProgram program;
  const TensorId target = program->make(Bytes(3 << 20));
  for (std::size_t i = 0; i < 6; ++i) {
    program.session().write(target, i << 19, pattern(1 << 19, static_cast<unsigned>(i)));
  }
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(program->read(target, 1 << 19, i << 19), pattern(1 << 19, static_cast<unsigned>(i)));
  }
}

TEST(SessionTest, AWriteTakesTheBytesBeforeItReturns) {
  InProcessProgram program;
  for (const std::size_t size : {1000, 100'000}) {
    Bytes bytes = pattern(size);
    const TensorId id = program.session().turn().allocate(size);
    program.session().write(id, 0, bytes);
    std::ranges::fill(bytes, std::byte{0});
    EXPECT_EQ(program->read(id, size), pattern(size));
  }
}

TEST(SessionTest, OnlyTheExecutorKnowsADescribedOutput) {
  InProcessProgram program;
  const TensorId source = program->make(pattern(100, 5));
  const auto described = program->describe(source, 100);
  ASSERT_EQ(described.outputs.size(), 2u);
  EXPECT_THAT(described.outputs[0].layout.sizes, testing::ElementsAre(5));
  EXPECT_EQ(described.outputs[0].storage_size_bytes, 5u);
  EXPECT_EQ(described.outputs[1].integer, 5);
  EXPECT_EQ(described.provisional_id >> 60 & 1, 1u);
  TensorId id = 0;
  {
    auto turn = program.session().turn();
    id = turn.storage(5);
    turn.rename(described.provisional_id, id);
  }
  EXPECT_EQ(program->read(id, 5), pattern(5, 5));
  const TensorId unwanted = program->describe(source, 100).provisional_id;
  program.session().turn().discard(unwanted);
  program.session().synchronize();
}

TEST(SessionTest, AResizeKeepsTheCommonPrefix) {
  InProcessProgram program;
  const TensorId x = program->make(pattern(10));
  TensorId y = 0;
  {
    auto turn = program.session().turn();
    y = turn.storage(20);
    turn.resize(x, y, 20);
  }
  program.session().free(x, 10);
  Bytes expected = pattern(10);
  expected.resize(20);
  EXPECT_EQ(program->read(y, 20), expected);
  EXPECT_EQ(program.session().statistics().storages, 1u);
}

TEST(SessionTest, GeneratorsAreTheExecutors) {
  InProcessProgram program;
  program.session().turn().seed(0, 1234);
  program.session().turn().seed(1, 99);
  const Bytes state = program.session().generator_state(0);
  EXPECT_NE(program.session().generator_state(1), state);
  program.session().turn().set_generator_state(1, state);
  EXPECT_EQ(program.session().generator_state(1), state);
}

TEST(SessionTest, CountsOperationsPlansRoundTripsAndBytes) {
  InProcessProgram program;
  const TensorId x = program->make(pattern(64));
  program.session().synchronize();
  const SessionStatistics before = program.session().statistics();
  for (int i = 0; i < 100; ++i) program->add(x, 64, 1);
  const SessionStatistics after = program.session().statistics();
  EXPECT_EQ(after.operations - before.operations, 100u);
  EXPECT_EQ(after.plans - before.plans, 1u);
  EXPECT_EQ(after.round_trips, before.round_trips) << "nothing was read";
  program->read(x, 64);
  EXPECT_EQ(program.session().statistics().round_trips, before.round_trips + 1);
  // 24 bytes a call (16 of them values), one plan, one envelope and head a message.
  EXPECT_LT(program.session().statistics().bytes_sent - before.bytes_sent, 100 * 24 + 1500u);
  EXPECT_GT(program.session().statistics().bytes_received, before.bytes_received + 64);
}

TEST(SessionTest, FreedStoragesAreGoneOnTheExecutor) {
  const auto count = std::make_shared<std::atomic<std::size_t>>(0);
  InProcessProgram program({.storage_count = count});
  const TensorId first = program->make(pattern(8));
  for (int i = 0; i < 5000; ++i) program.session().free(program->copy(first, 8), 8);
  program.session().synchronize();
  EXPECT_EQ(*count, 1u);
  const SessionStatistics statistics = program.session().statistics();
  EXPECT_EQ(statistics.storages, 1u);
  EXPECT_EQ(statistics.allocated_bytes, 8u);
  EXPECT_EQ(statistics.allocated_bytes_peak, 16u);
  program.session().reset_peak();
  EXPECT_EQ(program.session().statistics().allocated_bytes_peak, 8u);
}

TEST(SessionTest, WhatLiesAroundIsSentWithoutAWait) {
  std::promise<void> called;
  InProcessProgram program({.before_call = [&] { called.set_value(); }});
  program->add(program->make(pattern(8)), 8, 1);
  EXPECT_EQ(called.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

TEST(SessionTest, TheWelcomeTellsWhatTheExecutorIs) {
  InProcessProgram program({.limits = {.plan_count_max = 10, .storage_size_bytes_max = 1000}});
  const protocol::Welcome& welcome = program.session().welcome();
  EXPECT_EQ(welcome.description.at("executor"), "bytes");
  EXPECT_EQ(welcome.limits.plan_count_max, 10u);
  EXPECT_EQ(welcome.epoch, 1u);
  EXPECT_THROW(program.session().turn().allocate(1001), std::length_error);
  program.session().turn().allocate(1000);
  program.session().synchronize();
}

}  // namespace
}  // namespace torch_remote::session
