// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/network_model.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace torch_remote::emulator {

void NetworkOptions::check() const {
  const auto check_one = [](const char* name, double value) {
    if (std::isfinite(value) && value >= 0) return;
    throw std::invalid_argument(std::string(name) + " of a network has to be 0 or more, and not " +
                                std::to_string(value));
  };
  check_one("round_trip_ms", round_trip_ms);
  check_one("bandwidth_mbit_per_s", bandwidth_mbit_per_s);
}

}  // namespace torch_remote::emulator
