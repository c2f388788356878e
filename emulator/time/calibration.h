// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The model's parameters, fitted to measurements. The values are data: calibration_rows.inc, which
// emulator/calibration/fit_kernel_times.py writes, each row with its unit's name and its source.
#pragma once

#include <span>
#include <string_view>

namespace torch_remote::emulator {

struct Calibration {
#define TORCH_REMOTE_CALIBRATION_ROW(name, value, source) double name = value;
#include "emulator/time/calibration_rows.inc"
#undef TORCH_REMOTE_CALIBRATION_ROW
};

struct CalibrationRow {
  std::string_view name;
  double Calibration::* value;
  std::string_view source;
};

// All rows, in the order of the file. May be called from any thread.
std::span<const CalibrationRow> calibration_rows();

// The values of the file.
const Calibration& default_calibration();

}  // namespace torch_remote::emulator
