// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/clock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <stdexcept>

#include "emulator/gpu_model.h"

namespace torch_remote::emulator {
namespace {

using testing::Optional;

constexpr std::uint64_t kMebibyte = 1024 * 1024;

// Round numbers, each another one, in microseconds where there is no unit.
ClockCosts fake_costs() {
  ClockCosts costs;
  costs.kernel_gap_ns = 1'000;
  costs.launch_latency_ns = 5'000;
  costs.further_kernel_ns = 4'000;
  costs.synchronize_ns = 3'000;
  costs.event_synchronize_ns = 2'000;
  costs.read_scalar_ns = 8'000;
  costs.record_event_ns = 600;
  costs.query_event_ns = 400;
  costs.wait_event_ns = 700;
  costs.allocate_ns = 900;
  costs.view_ns = 1'000;
  costs.copy_call_ns = 6'000;
  costs.to_device_pinned = {.latency_ns = 10'000, .bytes_per_ns = 50};
  costs.to_device_pageable = {.latency_ns = 20'000, .bytes_per_ns = 5};
  costs.to_host_pinned = {.latency_ns = 10'000, .bytes_per_ns = 40};
  costs.to_host_pageable = {.latency_ns = 20'000, .bytes_per_ns = 4};
  costs.device_malloc_ns = 50'000;
  costs.device_malloc_ns_per_mib = 100;
  costs.device_free_ns = 40'000;
  costs.device_free_ns_per_mib = 500;
  return costs;
}

OperationCost kernel(double gpu_us, double host_us = 10) {
  return {.gpu_ns = nanoseconds(gpu_us),
          .host_ns = static_cast<std::uint32_t>(nanoseconds(host_us)),
          .kernel_count = 1};
}

Clock local_clock() { return Clock(fake_costs()); }

// ---- launches ----

TEST(Clock, StartsAtZero) {
  Clock clock = local_clock();
  EXPECT_EQ(clock.host_time_us(), 0);
  EXPECT_EQ(clock.gpu_time_us(), 0);
  EXPECT_EQ(clock.busy_us(), 0);
}

TEST(Clock, AKernelStartsWhenItsLaunchArrives) {
  Clock clock = local_clock();
  clock.launch(0, kernel(2));
  clock.launch(0, kernel(2));
  EXPECT_EQ(clock.host_time_us(), 20);
  EXPECT_EQ(clock.last_span().host_start_ns, 10'000);
  EXPECT_EQ(clock.last_span().host_end_ns, 20'000);
  EXPECT_EQ(clock.last_span().gpu_start_ns, 25'000);
  EXPECT_EQ(clock.last_span().gpu_end_ns, 27'000);
  EXPECT_EQ(clock.gpu_time_us(), 27);
  EXPECT_EQ(clock.busy_us(), 4);
}

TEST(Clock, AKernelStartsAGapAfterTheOneBefore) {
  Clock clock = local_clock();
  clock.launch(0, kernel(100));  // 15 to 115
  clock.launch(0, kernel(100));
  EXPECT_EQ(clock.last_span().gpu_start_ns, 116'000);
  EXPECT_EQ(clock.gpu_time_us(), 216);
  EXPECT_EQ(clock.host_time_us(), 20);
}

TEST(Clock, AnOperationWithoutKernelsTakesTheHostsTimeAlone) {
  Clock clock = local_clock();
  clock.launch(0, {.gpu_ns = 0, .host_ns = 1'500, .kernel_count = 0});
  clock.allocate();
  clock.make_views(3);
  EXPECT_EQ(clock.host_time_us(), 5.4);
  EXPECT_EQ(clock.gpu_time_us(), 0);
}

TEST(Clock, AnOperationsKernelsHaveGapsWhereTheHostIsAhead) {
  Clock clock = local_clock();
  clock.launch(0, kernel(100));  // until 115
  clock.launch(0, {.gpu_ns = 9'000, .host_ns = 20'000, .kernel_count = 3});
  EXPECT_EQ(clock.last_span().gpu_start_ns, 116'000);
  EXPECT_EQ(clock.last_span().gpu_end_ns, 116'000 + 9'000 + 2 * 1'000);
}

TEST(Clock, AnOperationsLastKernelWaitsForItsLaunch) {
  Clock clock = local_clock();
  clock.launch(0, {.gpu_ns = 3'000, .host_ns = 20'000, .kernel_count = 3});
  // Launched at 12, 16 and 20.
  EXPECT_EQ(clock.last_span().gpu_start_ns, 17'000);
  EXPECT_EQ(clock.last_span().gpu_end_ns, 26'000);
}

TEST(Clock, TheHostWaitsWhile1024KernelsAreQueued) {
  Clock clock = local_clock();
  clock.launch(0, kernel(100'000, 1));  // 6 to 100,006
  for (int i = 0; i < 1023; ++i) clock.launch(0, kernel(1, 1));
  EXPECT_EQ(clock.host_time_us(), 1024);
  clock.launch(0, kernel(1, 1));  // there is room when the first is done
  EXPECT_EQ(clock.host_time_us(), 100'006);
  clock.launch(0, kernel(1, 1));
  EXPECT_EQ(clock.host_time_us(), 100'008);  // and for each one, when another one is
}

TEST(Clock, TheLimitIsEachStreamsOwn) {
  Clock clock = local_clock();
  clock.launch(1, kernel(100'000, 1));
  for (int i = 0; i < 1023; ++i) clock.launch(1, kernel(1, 1));
  for (int i = 0; i < 1024; ++i) clock.launch(2, kernel(1, 1));
  EXPECT_EQ(clock.host_time_us(), 2048);
}

TEST(Clock, AnOperationOfMoreKernelsThanTheQueueTakesHoldsTheHost) {
  Clock clock = local_clock();
  clock.launch(0, {.gpu_ns = 2'000'000, .host_ns = 1'000, .kernel_count = 2'000});
  const double end_us = clock.gpu_time_us();
  EXPECT_GT(clock.host_time_us(), end_us * 0.4);
  EXPECT_LT(clock.host_time_us(), end_us * 0.6);
}

// ---- several streams ----

TEST(Clock, KernelsOfTwoStreamsShareTheGpu) {
  Clock clock = local_clock();
  clock.launch(1, kernel(1000));  // 15 to 1015
  clock.launch(2, kernel(1000));
  EXPECT_EQ(clock.last_span().gpu_start_ns, 25'000);
  EXPECT_EQ(clock.last_span().gpu_end_ns, 2'015'000);
  EXPECT_EQ(clock.busy_us(), 2000);
}

TEST(Clock, StreamsUseEachOthersGaps) {
  // Kernels as long as the gaps between them: two streams take as long as one.
  const auto total_us = [](int streams) {
    Clock clock = local_clock();
    clock.launch(1, kernel(10'000, 1));
    clock.record_event(1, 1, false);
    for (int stream = 1; stream <= streams; ++stream) clock.wait_event(1, stream);
    const double start_us = clock.gpu_time_us();
    for (int i = 0; i < 100; ++i) {
      for (int stream = 1; stream <= streams; ++stream) clock.launch(stream, kernel(1, 1));
    }
    return clock.gpu_time_us() - start_us;
  };
  EXPECT_EQ(total_us(1), 200);
  EXPECT_NEAR(total_us(2), 200, 3);
  EXPECT_NEAR(total_us(4), 400, 5);  // the GPU has always something to do
}

TEST(Clock, AStreamWaitsForAnEventOfAnother) {
  Clock clock = local_clock();
  clock.launch(1, kernel(1000));  // 15 to 1015
  clock.record_event(7, 1, false);
  clock.launch(1, kernel(1000));
  clock.wait_event(7, 2);
  clock.wait_event(8, 2);  // never recorded: nothing to wait for
  clock.copy(2, {.size_bytes = 0, .is_to_device = true, .is_pinned = true, .is_blocking = false});
  EXPECT_EQ(clock.last_span().gpu_start_ns, 1'015'000);
}

TEST(Clock, AKernelThatWaitsForAnEventHoldsUpNobody) {
  Clock clock = local_clock();
  clock.copy(1, {.size_bytes = 50'000'000,
                 .is_to_device = true,
                 .is_pinned = true,
                 .is_blocking = false});  // until 1021
  clock.record_event(7, 1, false);
  clock.launch(0, kernel(1));
  clock.wait_event(7, 2);
  clock.launch(2, kernel(500));
  EXPECT_EQ(clock.last_span().gpu_start_ns, 1'022'000);
  clock.launch(3, kernel(200));  // called last, done long before
  EXPECT_LT(clock.last_span().gpu_end_ns, 300'000);
}

TEST(Clock, AStreamsOwnOrderStays) {
  Clock clock = local_clock();
  clock.launch(1, kernel(1000));
  clock.launch(2, kernel(1000));
  clock.launch(2, kernel(10));
  EXPECT_EQ(clock.last_span().gpu_start_ns, 2'016'000);
}

// ---- events ----

TEST(Clock, EventsHaveTheTimeOfTheirStream) {
  Clock clock = local_clock();
  clock.record_event(1, 0, true);
  clock.launch(0, kernel(100));
  clock.launch(0, kernel(100));
  clock.record_event(2, 0, true);
  // From 5.6, when the first event was there, to 15.6 + 201.
  EXPECT_THAT(clock.elapsed_time_ms(1, 2), Optional(0.211));
  EXPECT_THAT(clock.elapsed_time_ms(2, 1), Optional(-0.211));
}

TEST(Clock, AStreamWithoutWorkIsDoneAtOnce) {
  Clock clock = local_clock();
  clock.record_event(1, 0, false);
  EXPECT_THAT(clock.query_event(1), Optional(true));
}

TEST(Clock, EventsWithoutTimeHaveNone) {
  Clock clock = local_clock();
  clock.record_event(1, 0, true);
  clock.record_event(2, 0, false);
  EXPECT_EQ(clock.elapsed_time_ms(1, 2), std::nullopt);
  EXPECT_EQ(clock.elapsed_time_ms(1, 3), std::nullopt);
  clock.free_event(1);
  EXPECT_EQ(clock.elapsed_time_ms(1, 1), std::nullopt);
}

TEST(Clock, AnEventRecordedAgainHasItsLastTime) {
  Clock clock = local_clock();
  clock.record_event(1, 0, true);
  clock.record_event(2, 0, true);
  clock.launch(0, kernel(100));
  clock.record_event(2, 0, true);
  EXPECT_THAT(clock.elapsed_time_ms(1, 2), Optional(testing::Gt(0.1)));
}

TEST(Clock, QueriesSeeAnEventPassWithTheHostsTime) {
  Clock clock = local_clock();
  clock.launch(0, kernel(10));  // 15 to 25
  clock.record_event(1, 0, false);
  int queries = 0;
  while (!clock.query_event(1).value()) ++queries;
  EXPECT_EQ(queries, 35);  // from 10.6 on, each 0.4
  EXPECT_EQ(clock.query_event(2), std::nullopt);
}

TEST(Clock, WaitingForAnEventIsNotWaitingForWhatFollows) {
  Clock clock = local_clock();
  clock.launch(0, kernel(100));  // 15 to 115
  clock.record_event(1, 0, false);
  clock.launch(0, kernel(1000));
  clock.synchronize_event(1);
  EXPECT_EQ(clock.host_time_us(), 117);
  clock.synchronize();
  EXPECT_EQ(clock.host_time_us(), 1116 + 3);
  clock.synchronize();
  EXPECT_EQ(clock.host_time_us(), 1122);
}

// ---- copies ----

TEST(Clock, ABlockingCopyHoldsTheHost) {
  Clock clock = local_clock();
  clock.copy(0, {.size_bytes = 1'000'000, .is_to_device = true});
  // The call, its latency, the link's, and 200 us of bytes.
  EXPECT_EQ(clock.host_time_us(), 6 + 5 + 20 + 200);
  EXPECT_EQ(clock.gpu_time_us(), clock.host_time_us());
}

TEST(Clock, ACopyFromPinnedMemoryHoldsNobody) {
  Clock clock = local_clock();
  const LinkCopy pinned{
      .size_bytes = 1'000'000, .is_to_device = true, .is_pinned = true, .is_blocking = false};
  clock.copy(0, pinned);
  EXPECT_EQ(clock.host_time_us(), 6);
  EXPECT_EQ(clock.gpu_time_us(), 6 + 5 + 10 + 20);
  clock.launch(0, kernel(10));
  EXPECT_EQ(clock.last_span().gpu_start_ns, 42'000);  // its stream is in order
}

TEST(Clock, MemoryThatIsNotPinnedIsStagedWhileTheHostWaits) {
  Clock clock = local_clock();
  clock.copy(
      0,
      {.size_bytes = 1'000'000, .is_to_device = false, .is_pinned = false, .is_blocking = false});
  EXPECT_EQ(clock.host_time_us(), 6 + 5 + 20 + 250);
}

TEST(Clock, ABlockingCopyOfPinnedMemoryIsAsFastAsTheLink) {
  Clock clock = local_clock();
  clock.copy(0, {.size_bytes = 1'000'000, .is_to_device = true, .is_pinned = true});
  EXPECT_EQ(clock.host_time_us(), 6 + 5 + 10 + 20);
}

TEST(Clock, CopiesOverlapWithKernelsAndTheOtherDirection) {
  Clock clock = local_clock();
  const std::uint64_t size_bytes = 50'000'000;  // a millisecond upwards
  clock.copy(
      1, {.size_bytes = size_bytes, .is_to_device = true, .is_pinned = true, .is_blocking = false});
  clock.copy(
      2,
      {.size_bytes = size_bytes, .is_to_device = false, .is_pinned = true, .is_blocking = false});
  clock.launch(0, kernel(1000));
  EXPECT_LT(clock.gpu_time_us(), 1300);
  // The same direction is one engine.
  clock.copy(
      3, {.size_bytes = size_bytes, .is_to_device = true, .is_pinned = true, .is_blocking = false});
  EXPECT_GT(clock.gpu_time_us(), 2000);
}

TEST(Clock, ReadingANumberWaitsForItsStreamAlone) {
  Clock clock = local_clock();
  clock.launch(1, kernel(5000));
  clock.launch(0, kernel(0, 1));
  const double before_us = clock.last_span().gpu_end_ns / 1e3;
  clock.copy(0, {.size_bytes = 4, .is_to_device = false});
  EXPECT_EQ(clock.host_time_us(), before_us + 8);
}

// ---- the driver's memory ----

TEST(Clock, GettingMemoryTakesTheHostsTime) {
  Clock clock = local_clock();
  clock.launch(0, kernel(1000));
  clock.device_malloc(1, 20 * kMebibyte);
  EXPECT_EQ(clock.host_time_us(), 10 + 50 + 2);
  clock.device_malloc(2, 20 * kMebibyte);
  EXPECT_EQ(clock.host_time_us(), 62 + 2 * 50 + 2);
}

TEST(Clock, GivingMemoryBackWaitsForTheGpu) {
  Clock clock = local_clock();
  clock.launch(0, kernel(1000));  // until 1015
  clock.device_free(1, 20 * kMebibyte);
  EXPECT_EQ(clock.host_time_us(), 1015 + 40 + 10);
}

// ---- a network ----

// 10 ms there and 10 back, 8 us a kilobyte.
Clock remote_clock() {
  return Clock(fake_costs(), {.round_trip_ms = 20, .bandwidth_mbit_per_s = 1000});
}

TEST(ClockWithNetwork, OperationsAreNotWaitedFor) {
  Clock clock = remote_clock();
  clock.launch(0, kernel(100), 125);  // a microsecond of bytes
  EXPECT_EQ(clock.host_time_us(), 10);
  EXPECT_EQ(clock.last_span().gpu_start_ns, 10'000 + 1'000 + 10'000'000 + 4'000 + 5'000);
}

TEST(ClockWithNetwork, AReadTakesARoundTripAndItsBytes) {
  Clock clock = remote_clock();
  clock.copy(0, {.size_bytes = 125'000, .is_to_device = false});  // a millisecond on the network
  EXPECT_NEAR(clock.host_time_us(), 20'000 + 1'000 + 6 + 5 + 20 + 31.25, 1);
}

TEST(ClockWithNetwork, ASynchronizationTakesARoundTrip) {
  Clock clock = remote_clock();
  clock.synchronize();
  EXPECT_NEAR(clock.host_time_us(), 20'000 + 3, 1);
  clock.launch(0, kernel(50'000));
  clock.record_event(1, 0, false);
  EXPECT_THAT(clock.query_event(1), Optional(false));
  EXPECT_NEAR(clock.host_time_us(), 40'000, 50);
  clock.synchronize_event(1);  // arrives while the kernel still runs
  EXPECT_NEAR(clock.host_time_us(), 20'000 + 10'000 + 50'000 + 10'000, 50);
  EXPECT_THAT(clock.query_event(1), Optional(true));
}

TEST(ClockWithNetwork, UploadsGoThroughTheNetworkOneAfterTheOther) {
  Clock clock = remote_clock();
  for (int i = 0; i < 3; ++i) clock.copy(0, {.size_bytes = 1'250'000, .is_to_device = true});
  EXPECT_EQ(clock.host_time_us(), 18);  // only the calls
  clock.synchronize();
  EXPECT_NEAR(clock.host_time_us(), 20'000 + 3 * 10'000, 400);
}

TEST(ClockWithNetwork, BandwidthAloneOrLatencyAlone) {
  Clock slow(fake_costs(), {.round_trip_ms = 0, .bandwidth_mbit_per_s = 8});
  slow.launch(0, kernel(1), 1000);
  slow.synchronize();
  EXPECT_GT(slow.host_time_us(), 1000);
  Clock far(fake_costs(), {.round_trip_ms = 100, .bandwidth_mbit_per_s = 0});
  far.copy(0, {.size_bytes = 1'000'000'000, .is_to_device = true});
  EXPECT_LT(far.host_time_us(), 100);
}

TEST(ClockWithNetwork, ImpossibleOnesAreRefused) {
  EXPECT_THROW(Clock(fake_costs(), {.round_trip_ms = -1}), std::invalid_argument);
  EXPECT_THROW(
      Clock(fake_costs(), {.bandwidth_mbit_per_s = std::numeric_limits<double>::infinity()}),
      std::invalid_argument);
}

// ---- values ----

TEST(Clock, CostsOfAGpuTypeAreWholeNanoseconds) {
  const LaunchCosts launches = launch_costs(gpu_model("H100"));
  const ClockCosts costs = clock_costs(launches);
  EXPECT_EQ(microseconds(costs.kernel_gap_ns), launches.kernel_gap_us);
  EXPECT_EQ(microseconds(costs.read_scalar_ns), launches.read_scalar_us);
  EXPECT_EQ(costs.to_device_pinned.bytes_per_ns, launches.host_to_device_pinned.rate_gb_per_s);
  EXPECT_LT(costs.to_device_pinned.duration_ns(kMebibyte),
            costs.to_device_pageable.duration_ns(kMebibyte));
  const OperationCost cost =
      operation_cost({.gpu_us = 1.2346, .host_us = 8.5, .kernel_count = 2, .kernels = {}}, 2);
  EXPECT_EQ(cost.gpu_ns, 1235);
  EXPECT_EQ(cost.host_ns, 17'000);
  EXPECT_EQ(cost.kernel_count, 2);
}

TEST(Clock, CopiesGoOnByThemselves) {
  Clock clock = local_clock();
  clock.launch(1, kernel(100));
  clock.launch(2, kernel(100));
  Clock copy = clock;
  copy.launch(1, kernel(1000));
  EXPECT_LT(clock.gpu_time_us(), 300);
  clock.launch(1, kernel(1000));
  EXPECT_EQ(clock.gpu_time_us(), copy.gpu_time_us());
  EXPECT_EQ(clock.host_time_us(), copy.host_time_us());
}

}  // namespace
}  // namespace torch_remote::emulator
