// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the clock (clock.h) adds up, in whole nanoseconds: integers add up to the same sum on every
// machine and in every order of a compiler's choice, which floating-point numbers don't.
#pragma once

#include <cmath>
#include <cstdint>

#include "emulator/time/launch_costs.h"
#include "emulator/time/operator_time.h"

namespace torch_remote::emulator {

using Nanoseconds = std::int64_t;

constexpr std::int64_t kNanosecondsPerMillisecond = 1'000'000;

inline Nanoseconds nanoseconds(double us) { return std::llround(us * 1e3); }
constexpr double microseconds(Nanoseconds time) { return static_cast<double>(time) / 1e3; }

// One call of an operator: kept with its plan, so that a call costs no look-up.
struct OperationCost {
  Nanoseconds gpu_ns = 0;          // sum of its kernels' durations
  std::uint32_t host_ns = 0;       // of the program's thread, until it may go on
  std::uint32_t kernel_count = 0;  // 0: nothing runs on the GPU
};

// One direction of the link, from one kind of host memory.
struct LinkCost {
  Nanoseconds latency_ns = 0;
  double bytes_per_ns = 1;  // which is 10^9 bytes a second

  Nanoseconds duration_ns(std::uint64_t size_bytes) const {
    return latency_ns + std::llround(static_cast<double>(size_bytes) / bytes_per_ns);
  }
};

struct ClockCosts {
  // On the GPU: between two kernels of a stream, and from a launch to its kernel's start.
  Nanoseconds kernel_gap_ns = 0;
  Nanoseconds launch_latency_ns = 0;

  // On the host.
  Nanoseconds further_kernel_ns = 0;     // between the launches of one operator's kernels
  Nanoseconds synchronize_ns = 0;        // behind the GPU's last kernel
  Nanoseconds event_synchronize_ns = 0;  // behind the event
  Nanoseconds read_scalar_ns = 0;        // item(): behind the kernel that computed the value
  Nanoseconds record_event_ns = 0;
  Nanoseconds query_event_ns = 0;
  Nanoseconds wait_event_ns = 0;
  Nanoseconds allocate_ns = 0;  // of a tensor that no operator fills, from the allocator's cache
  Nanoseconds view_ns = 0;
  Nanoseconds copy_call_ns = 0;

  LinkCost to_device_pinned{};
  LinkCost to_device_pageable{};
  LinkCost to_host_pinned{};
  LinkCost to_host_pageable{};

  // The driver's allocations, by the host. Measured on an H100 with CUDA 13.0, medians of nine:
  // cudaMalloc 56, 60, 155, 571 us and cudaFree 46, 116, 601, 5752 us for 128 KiB, 128 MiB, 1 GiB
  // and 8 GiB.
  Nanoseconds device_malloc_ns = 54'000;
  Nanoseconds device_malloc_ns_per_mib = 80;
  Nanoseconds device_free_ns = 44'000;
  Nanoseconds device_free_ns_per_mib = 650;
};

// What a call takes of the host within a program, relative to a loop of the same call: between
// calls there are modules, autograd and the optimizer's Python, and the processor's caches are
// cold. Set by hand from what six programs showed on an H100's machine that were bound by their
// host (bench/step_times.py): 1.6 for generation and for one training, up to 3.1 for the others;
// their geometric mean is about 2.1.
inline constexpr double kProgramHostFactor = 2.2;

OperationCost operation_cost(const OperatorTime& time, double host_factor = kProgramHostFactor);
ClockCosts clock_costs(const LaunchCosts& costs);

}  // namespace torch_remote::emulator
