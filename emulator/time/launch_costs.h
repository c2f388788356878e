// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What surrounds kernels: launches, copies over the link, waiting. Numbers a GPU type.
#pragma once

#include <cstdint>

#include "emulator/gpu_model.h"
#include "emulator/time/calibration.h"

namespace torch_remote::emulator {

// A copy of n bytes over the link occupies it for latency_us + n / rate.
struct CopyCost {
  double latency_us = 0;
  double rate_gb_per_s = 0;  // 10^9 bytes a second
};

struct LaunchCosts {
  // On the GPU, between the end of a kernel and the start of the next in the same stream, where the
  // host is ahead.
  double kernel_gap_us = 0;
  // From the host's launch to the start of the kernel, where the GPU is idle.
  double launch_latency_us = 0;
  // On the host: what a launch adds to the call when an operator runs more than one kernel.
  double host_us_per_kernel = 0;

  // On the host: what the program waits beyond the GPU's last kernel.
  double synchronize_us = 0;        // torch.cuda.synchronize(), Stream.synchronize()
  double event_synchronize_us = 0;  // Event.synchronize()
  double read_scalar_us = 0;        // item(): the copy of the value, and the wait for it
  // On the host: calls that wait for nothing.
  double record_event_us = 0;
  double query_event_us = 0;
  double wait_event_us = 0;
  double make_stream_us = 0;
  double empty_us = 0;  // torch.empty(): an allocation from the cache
  double view_us = 0;   // an operator that runs nothing on the GPU

  // Unpinned copies go through a pinned buffer of the driver's; the host waits for all of them but
  // the smallest to the GPU.
  CopyCost host_to_device_pinned{};
  CopyCost host_to_device_pageable{};
  CopyCost device_to_host_pinned{};
  CopyCost device_to_host_pageable{};
  // On the host: the call of a copy, without the wait for it.
  double copy_call_us = 0;
};

LaunchCosts launch_costs(const GpuModel& gpu,
                         const Calibration& calibration = default_calibration());

// How long a copy of that many bytes takes on the link, in microseconds.
double copy_us(const CopyCost& cost, std::uint64_t size_bytes);

}  // namespace torch_remote::emulator
