// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/launch_costs.h"

namespace torch_remote::emulator {
namespace {

// What one direction of PCI Express carries at most, after its encoding, in 10^9 bytes a second.
double link_peak_gb_per_s(const HostLink& link) {
  double lane_gb_per_s = 0.985;  // generation 3
  for (int generation = 3; generation < link.pcie_generation; ++generation) lane_gb_per_s *= 2;
  return lane_gb_per_s * (link.pcie_lane_count > 0 ? link.pcie_lane_count : 16);
}

}  // namespace

LaunchCosts launch_costs(const GpuModel& gpu, const Calibration& c) {
  const double peak = link_peak_gb_per_s(gpu.host_link);
  // What pageable memory reaches is bound by the host's copy into a pinned buffer, and by the link.
  const auto pageable = [&](double host_gb_per_s) {
    const double link = peak * c.link_share;
    return link * host_gb_per_s / (link + host_gb_per_s);
  };
  LaunchCosts costs;
  costs.kernel_gap_us = c.kernel_gap_us;
  costs.launch_latency_us = c.launch_latency_us;
  costs.host_us_per_kernel = c.host_per_kernel_us;
  costs.synchronize_us = c.synchronize_us;
  costs.event_synchronize_us = c.event_synchronize_us;
  costs.read_scalar_us = c.read_scalar_us;
  costs.record_event_us = c.record_event_us;
  costs.query_event_us = c.query_event_us;
  costs.wait_event_us = c.wait_event_us;
  costs.make_stream_us = c.make_stream_us;
  costs.empty_us = c.host_empty_us;
  costs.view_us = c.host_view_us;
  costs.host_to_device_pinned = {c.link_latency_us, peak * c.link_share};
  costs.device_to_host_pinned = {c.link_latency_us, peak * c.link_share};
  costs.host_to_device_pageable = {c.pageable_latency_us, pageable(c.pageable_to_device_gb_per_s)};
  costs.device_to_host_pageable = {c.pageable_latency_us, pageable(c.pageable_to_host_gb_per_s)};
  costs.copy_call_us = c.copy_call_us;
  return costs;
}

double copy_us(const CopyCost& cost, std::uint64_t size_bytes) {
  return cost.latency_us + static_cast<double>(size_bytes) / (cost.rate_gb_per_s * 1e3);
}

}  // namespace torch_remote::emulator
