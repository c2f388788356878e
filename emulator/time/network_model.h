// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A network between the program and its GPU, as between a client and a rented machine.
#pragma once

namespace torch_remote::emulator {

// All zero: the program runs on the GPU's own machine.
struct NetworkOptions {
  double round_trip_ms = 0;
  double bandwidth_mbit_per_s = 0;  // each way, 10^6 bits a second; 0: as much as is asked for

  // Throws std::invalid_argument for what no network can be.
  void check() const;
  bool is_there() const { return round_trip_ms > 0 || bandwidth_mbit_per_s > 0; }
};

}  // namespace torch_remote::emulator
