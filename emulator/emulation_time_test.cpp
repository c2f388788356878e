// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The times that an emulation tells: of each GPU, with what its allocator asks of the driver.
#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <vector>

#include "core/session/errors.h"
#include "emulator/emulation.h"

namespace torch_remote::emulator {
namespace {

using protocol::ArgumentKind;
using protocol::OutputKind;
using testing::Optional;

constexpr protocol::DataType kFloatType = 6;  // c10::ScalarType's number
constexpr std::uint64_t kMebibyte = 1024 * 1024;

class EmulationTimeTest : public testing::Test {
 protected:
  EmulationTimeTest() : emulation_({gpu_model("H100"), gpu_model("T4")}) {
    emulation_.define_operator(1, "aten::neg", "");
    const protocol::TensorLayout layout{.dtype = kFloatType, .sizes = {kElements}, .strides = {1}};
    protocol::PlanDefinition plan{.plan = 2, .operator_number = 1};
    plan.arguments.push_back({.kind = ArgumentKind::kTensor, .layout = layout});
    plan.outputs.push_back({.kind = OutputKind::kFresh, .layout = layout});
    emulation_.define_plan(plan);
  }

  // Makes 64 MiB of two.
  session::NewStorage call(std::uint32_t stream = 0) {
    const session::NewStorage output{.id = next_id_++, .size_bytes = kElements * 4};
    emulation_.call({.plan = 2, .stream = stream, .outputs = {&output, 1}});
    return output;
  }
  double host_us(std::size_t gpu = 0) { return emulation_.outcomes()[gpu].host_us; }
  template <typename Action>
  double host_us_of(Action action) {
    const double before_us = host_us();
    action();
    return host_us() - before_us;
  }

  static constexpr std::int64_t kElements = 16 << 20;
  Emulation emulation_;
  session::TensorId next_id_ = 1;
};

TEST_F(EmulationTimeTest, EachGpuHasItsOwn) {
  call();
  emulation_.synchronize();
  const auto outcomes = emulation_.outcomes();
  EXPECT_GT(outcomes[0].gpu_busy_us, 40);  // 128 MiB at 3 TB/s
  EXPECT_GT(outcomes[1].gpu_busy_us, 5 * outcomes[0].gpu_busy_us);
  EXPECT_GT(outcomes[1].host_us, outcomes[0].host_us);
  EXPECT_GE(outcomes[0].host_us, outcomes[0].gpu_us);
  EXPECT_EQ(emulation_.modelled_time()->host_us, outcomes[0].host_us);
}

TEST_F(EmulationTimeTest, MemoryFromTheDriverTakesTime) {
  const double first_us = host_us_of([&] { call(); });
  const session::NewStorage second = call();
  emulation_.free(second.id, second.size_bytes);
  const double cached_us = host_us_of([&] { call(); });
  EXPECT_GT(first_us, cached_us + 50);
  EXPECT_LT(cached_us, 30);
}

TEST_F(EmulationTimeTest, MemoryGivenBackWaitsForTheGpu) {
  const session::NewStorage output = call();
  for (int i = 0; i < 50; ++i) {
    const session::NewStorage other = call();
    emulation_.free(other.id, other.size_bytes);
  }
  emulation_.free(output.id, output.size_bytes);
  EXPECT_LT(host_us(1), emulation_.outcomes()[1].gpu_us);
  emulation_.empty_cache();
  EXPECT_GT(host_us(1), emulation_.outcomes()[1].gpu_us);
}

TEST_F(EmulationTimeTest, CountersThatAreResetCostNothing) {
  call();
  emulation_.reset_accumulated_memory();
  EXPECT_LT(host_us_of([&] { emulation_.synchronize(); }), 1000);
  const session::NewStorage output = call();
  emulation_.free(output.id, output.size_bytes);
  EXPECT_LT(host_us_of([&] { call(); }), 30);
}

TEST_F(EmulationTimeTest, StepsEndWhenTheirWorkIsDone) {
  for (int step = 0; step < 3; ++step) {
    const session::NewStorage output = call();
    emulation_.free(output.id, output.size_bytes);
    emulation_.mark_step();
  }
  for (const GpuOutcome& outcome : emulation_.outcomes()) {
    ASSERT_EQ(outcome.step_ends_us.size(), 3u);
    EXPECT_GE(outcome.step_ends_us[2] - outcome.step_ends_us[1], outcome.gpu_busy_us / 3);
  }
}

TEST_F(EmulationTimeTest, EventsAreAnsweredByTheFirstGpu) {
  emulation_.record_event(1, 0, true);
  call(1);
  emulation_.record_event(2, 1, true);
  emulation_.wait_event(2, 0);
  EXPECT_THAT(emulation_.elapsed_time_ms(1, 2), Optional(testing::Gt(0.04)));
  EXPECT_THAT(emulation_.query_event(2), Optional(false));
  emulation_.synchronize_event(2);
  EXPECT_THAT(emulation_.query_event(2), Optional(true));
  emulation_.free_event(2);
  EXPECT_EQ(emulation_.query_event(2), std::nullopt);
  EXPECT_GT(emulation_.last_span()->gpu_end_ns, emulation_.last_span()->gpu_start_ns);
}

TEST_F(EmulationTimeTest, TheMemoryHistoryHasTheFirstGpusTime) {
  emulation_.allocator().set_history({.is_enabled = true});
  const session::NewStorage output = call();
  emulation_.synchronize();
  const double freed_us = host_us();
  emulation_.free(output.id, output.size_bytes);
  const auto events = emulation_.allocator().snapshot().events;
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0].action, MemoryAction::kSegmentAllocate);
  EXPECT_EQ(events[1].action, MemoryAction::kAllocate);
  EXPECT_LT(events[1].time_us, 10);
  EXPECT_EQ(events[2].action, MemoryAction::kFreeRequested);
  EXPECT_EQ(events[2].time_us, static_cast<std::int64_t>(freed_us));
  EXPECT_EQ(events[3].action, MemoryAction::kFreeCompleted);
  EXPECT_EQ(events[3].time_us, events[2].time_us + 1);
}

// As a prefetcher's: a block that a copy's stream still reads isn't used again before that.
TEST_F(EmulationTimeTest, BlocksWaitForTheStreamsThatUseThem) {
  const auto reserved_bytes = [&](std::size_t gpu) {
    return emulation_.outcomes()[gpu].reserved_bytes_peak / kMebibyte;
  };
  const session::NewStorage used = call();
  emulation_.record_stream(used.id, 1);
  for (int i = 0; i < 100; ++i) {
    const session::NewStorage output = call(1);
    emulation_.free(output.id, output.size_bytes);
  }
  emulation_.free(used.id, used.size_bytes);
  const session::NewStorage other = call();
  EXPECT_EQ(reserved_bytes(0), 192u);
  emulation_.free(other.id, other.size_bytes);
  emulation_.synchronize();
  call();
  call();
  EXPECT_EQ(reserved_bytes(0), 192u);
  EXPECT_EQ(reserved_bytes(1), 192u);
}

TEST_F(EmulationTimeTest, WhatIsRefusedTakesNoTime) {
  const double before_us = host_us();
  const session::NewStorage huge{.id = 99, .size_bytes = std::uint64_t{1} << 40};
  EXPECT_THROW(emulation_.allocate(huge, 0, 0), session::OutOfMemory);
  EXPECT_EQ(host_us(), before_us);
}

TEST(EmulationTime, ANetworkIsInFrontOfAllGpus) {
  Emulation emulation({gpu_model("H100"), gpu_model("L4")},
                      {.time = {.network = {.round_trip_ms = 30}}});
  emulation.copy({.size_bytes = 4, .is_to_device = false});
  for (const GpuOutcome& outcome : emulation.outcomes()) EXPECT_GT(outcome.host_us, 30'000);
  emulation.copy({.size_bytes = kMebibyte, .is_to_device = true});
  EXPECT_LT(emulation.outcomes()[0].host_us, 31'000);
}

}  // namespace
}  // namespace torch_remote::emulator
