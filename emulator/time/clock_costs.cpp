// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/clock_costs.h"

namespace torch_remote::emulator {
namespace {

LinkCost link_cost(const CopyCost& cost) {
  return {.latency_ns = nanoseconds(cost.latency_us), .bytes_per_ns = cost.rate_gb_per_s};
}

}  // namespace

OperationCost operation_cost(const OperatorTime& time, double host_factor) {
  return {.gpu_ns = nanoseconds(time.gpu_us),
          .host_ns = static_cast<std::uint32_t>(nanoseconds(time.host_us * host_factor)),
          .kernel_count = static_cast<std::uint32_t>(time.kernel_count)};
}

ClockCosts clock_costs(const LaunchCosts& costs) {
  return {.kernel_gap_ns = nanoseconds(costs.kernel_gap_us),
          .launch_latency_ns = nanoseconds(costs.launch_latency_us),
          .further_kernel_ns = nanoseconds(costs.host_us_per_kernel),
          .synchronize_ns = nanoseconds(costs.synchronize_us),
          .event_synchronize_ns = nanoseconds(costs.event_synchronize_us),
          .read_scalar_ns = nanoseconds(costs.read_scalar_us),
          .record_event_ns = nanoseconds(costs.record_event_us),
          .query_event_ns = nanoseconds(costs.query_event_us),
          .wait_event_ns = nanoseconds(costs.wait_event_us),
          .allocate_ns = nanoseconds(costs.empty_us),
          .view_ns = nanoseconds(costs.view_us),
          .copy_call_ns = nanoseconds(costs.copy_call_us),
          .to_device_pinned = link_cost(costs.host_to_device_pinned),
          .to_device_pageable = link_cost(costs.host_to_device_pageable),
          .to_host_pinned = link_cost(costs.device_to_host_pinned),
          .to_host_pageable = link_cost(costs.device_to_host_pageable)};
}

}  // namespace torch_remote::emulator
