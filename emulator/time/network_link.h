// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// When what is sent through a network arrives: each direction carries one byte after the other.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "emulator/time/clock_costs.h"
#include "emulator/time/network_model.h"

namespace torch_remote::emulator {

class NetworkLink {
 public:
  explicit NetworkLink(const NetworkOptions& options)
      : one_way_ns_(nanoseconds(options.round_trip_ms * 1e3 / 2)),
        ns_per_byte_(options.bandwidth_mbit_per_s > 0 ? 8e3 / options.bandwidth_mbit_per_s : 0) {}

  Nanoseconds round_trip_ns() const { return 2 * one_way_ns_; }

  // At the executor, of what the program sends at now_ns.
  Nanoseconds arrival_ns(Nanoseconds now_ns, std::uint64_t size_bytes) {
    return through(to_executor_free_ns_, now_ns, size_bytes);
  }
  // At the program, of what the executor has at ready_ns.
  Nanoseconds return_ns(Nanoseconds ready_ns, std::uint64_t size_bytes) {
    return through(to_program_free_ns_, ready_ns, size_bytes);
  }

 private:
  Nanoseconds through(Nanoseconds& free_ns, Nanoseconds ready_ns, std::uint64_t size_bytes) {
    const auto size = static_cast<double>(size_bytes);
    free_ns = std::max(free_ns, ready_ns) + std::llround(size * ns_per_byte_);
    return free_ns + one_way_ns_;
  }

  Nanoseconds one_way_ns_;
  double ns_per_byte_;
  Nanoseconds to_executor_free_ns_ = 0;
  Nanoseconds to_program_free_ns_ = 0;
};

}  // namespace torch_remote::emulator
