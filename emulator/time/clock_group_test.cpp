// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/clock_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdexcept>
#include <vector>

#include "emulator/time/operator_arguments.h"

namespace torch_remote::emulator {
namespace {

using protocol::ArgumentKind;
using protocol::OutputKind;
using testing::Optional;

// A product of square matrices under the number 3.
protocol::PlanDefinition product(std::int64_t n) {
  const protocol::TensorLayout matrix{.dtype = kFloatType, .sizes = {n, n}, .strides = {n, 1}};
  protocol::PlanDefinition plan;
  plan.plan = 3;
  for (int i = 0; i < 2; ++i)
    plan.arguments.push_back({.kind = ArgumentKind::kTensor, .layout = matrix});
  plan.outputs.push_back({.kind = OutputKind::kFresh, .layout = matrix});
  return plan;
}

class ClockGroupTest : public testing::Test {
 protected:
  ClockGroupTest() : group_(std::vector{gpu_model("H100"), gpu_model("T4")}) {
    const protocol::PlanDefinition plan = product(4096);
    group_.define_plan({.name = "aten::mm", .overload = "", .plan = plan});
  }
  void call(std::uint32_t stream = 0) { group_.call({.plan = 3, .stream = stream}); }

  ClockGroup group_;
};

TEST_F(ClockGroupTest, EachGpuHasItsOwnTimes) {
  EXPECT_GT(group_.cost(3, 0).gpu_ns, 1'000'000);
  EXPECT_GT(group_.cost(3, 1).gpu_ns, 4 * group_.cost(3, 0).gpu_ns);
  call();
  group_.synchronize();
  EXPECT_GT(group_.clock(1).host_time_us(), 4 * group_.clock(0).host_time_us());
  EXPECT_EQ(group_.modelled_time().host_us, group_.clock(0).host_time_us());
  EXPECT_EQ(group_.modelled_time().gpu_busy_us, microseconds(group_.cost(3, 0).gpu_ns));
}

TEST_F(ClockGroupTest, TheFirstGpuAnswers) {
  group_.record_event(1, 0, true);
  call();
  EXPECT_EQ(group_.last_span().gpu_end_ns - group_.last_span().gpu_start_ns,
            group_.cost(3, 0).gpu_ns);
  group_.record_event(2, 0, true);
  EXPECT_THAT(group_.elapsed_time_ms(1, 2), group_.clock(0).elapsed_time_ms(1, 2));
  EXPECT_THAT(group_.query_event(2), Optional(false));
  group_.synchronize_event(2);
  EXPECT_THAT(group_.query_event(2), Optional(true));
  group_.free_event(2);
  EXPECT_EQ(group_.query_event(2), std::nullopt);
}

TEST_F(ClockGroupTest, WhoPollsGoesOnWithTheFirstGpuAndWaitsOnTheOthers) {
  call();
  group_.record_event(1, 0, false);
  while (!group_.query_event(1).value()) continue;
  EXPECT_GE(group_.clock(1).host_time_us(), group_.clock(1).gpu_time_us());
}

TEST_F(ClockGroupTest, CopiesAndWaitsReachAllGpus) {
  group_.copy({.size_bytes = 100'000'000, .is_to_device = true});
  const double copied_us = group_.clock(1).host_time_us();
  EXPECT_GT(copied_us, 5000);
  group_.allocate();
  EXPECT_GT(group_.clock(1).host_time_us(), copied_us);
  call(1);
  group_.record_event(1, 1, false);
  group_.wait_event(1, 2);
  call(2);
  EXPECT_GT(group_.clock(1).gpu_time_us(), 2 * microseconds(group_.cost(3, 1).gpu_ns));
}

TEST_F(ClockGroupTest, APlanIsReplaced) {
  const protocol::PlanDefinition smaller = product(512);
  const auto before_ns = group_.cost(3, 0).gpu_ns;
  group_.define_plan({.name = "aten::mm", .overload = "", .plan = smaller});
  EXPECT_LT(group_.cost(3, 0).gpu_ns, before_ns / 10);
}

TEST(ClockGroup, NeedsAGpu) {
  EXPECT_THROW(ClockGroup(std::span<const GpuModel>()), std::invalid_argument);
}

}  // namespace
}  // namespace torch_remote::emulator
