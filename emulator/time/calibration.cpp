// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/calibration.h"

namespace torch_remote::emulator {
namespace {

constexpr CalibrationRow kRows[] = {
#define TORCH_REMOTE_CALIBRATION_ROW(name, value, source) {#name, &Calibration::name, source},
#include "emulator/time/calibration_rows.inc"
#undef TORCH_REMOTE_CALIBRATION_ROW
};

}  // namespace

std::span<const CalibrationRow> calibration_rows() { return kRows; }

const Calibration& default_calibration() {
  static constexpr Calibration kCalibration;
  return kCalibration;
}

}  // namespace torch_remote::emulator
