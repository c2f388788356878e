// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/operator_time.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "emulator/time/host_cost.h"
#include "emulator/time/kernel_duration.h"
#include "emulator/time/operator_work.h"

namespace torch_remote::emulator {

std::string_view kernel_class_name(KernelClass kernel_class) {
  constexpr std::array<std::string_view, kKernelClassCount> kNames = {
      "product", "convolution", "attention", "elementwise",   "reduction", "normalization",
      "scan",    "sort",        "indexing",  "copy",          "random",    "optimizer",
      "image",   "recurrent",   "transform", "linear algebra"};
  return kNames[static_cast<std::size_t>(kernel_class)];
}

namespace {

// What a GPU has no units for, no setting brings about.
PrecisionSettings within(const PrecisionSettings& settings, const GpuModel& gpu) {
  return gpu.peak.tf32 ? settings
                       : PrecisionSettings{.allow_tf32_in_products = false,
                                           .allow_tf32_in_convolutions = false};
}

}  // namespace

OperatorTime operator_time(const PlannedOperator& planned, const GpuModel& gpu,
                           const PrecisionSettings& settings, CacheState cache,
                           const Calibration& calibration) {
  OperatorTime time;
  const PrecisionSettings precision = within(settings, gpu);
  const std::vector<KernelWork> works =
      operator_work(planned, {.gpu = gpu, .settings = precision, .calibration = calibration});
  for (const KernelWork& work : works) {
    const double us = kernel_us(work, gpu, cache, calibration);
    const int count = std::max(1, static_cast<int>(work.launches));
    time.kernels.push_back(
        {.name = work.name, .kernel_class = work.kernel_class, .count = count, .us = us});
    time.gpu_us += us;
    time.kernel_count += count;
  }
  time.host_us = host_us(planned, time.kernel_count, calibration);
  return time;
}

double roofline_us(const PlannedOperator& planned, const GpuModel& gpu,
                   const PrecisionSettings& settings) {
  double total_us = 0;
  const PrecisionSettings precision = within(settings, gpu);
  const std::vector<KernelWork> works = operator_work(
      planned, {.gpu = gpu, .settings = precision, .calibration = default_calibration()});
  for (const KernelWork& work : works) {
    const std::optional<MathUnit> unit = work.product     ? std::optional(work.product->unit)
                                         : work.attention ? std::optional(work.attention->unit)
                                                          : std::nullopt;
    const double peak = peak_tflops(unit.value_or(MathUnit::kFp32), gpu);
    total_us +=
        std::max(operation_count(work) / (peak * 1e6),
                 (work.read_bytes + work.written_bytes) / (gpu.dram_bandwidth_gb_per_s * 1e3));
  }
  return total_us;
}

}  // namespace torch_remote::emulator
