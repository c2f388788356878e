// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The rules that every GPU model obeys. gpu_models.cpp applies them to the built-in rows at compile
// time; a model from anywhere else is to pass them at run time before it is used.
//
// Pure functions without state; any thread may call them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "emulator/gpu_model.h"

namespace torch_remote {

// Limits fixed by a compute capability (CUDA C++ Programming Guide, table "Technical
// Specifications per Compute Capability").
struct CapabilityLimits {
  std::int32_t capability_major;
  std::int32_t capability_minor;
  std::int32_t max_threads_per_multiprocessor;
  std::uint64_t shared_memory_per_multiprocessor_bytes;
};

inline constexpr CapabilityLimits kCapabilityLimits[] = {
    {7, 0, 2048, 96 * 1024},   {7, 5, 1024, 64 * 1024},   {8, 0, 2048, 164 * 1024},
    {8, 6, 1536, 100 * 1024},  {8, 7, 1536, 164 * 1024},  {8, 9, 1536, 100 * 1024},
    {9, 0, 2048, 228 * 1024},  {10, 0, 2048, 228 * 1024}, {10, 3, 2048, 228 * 1024},
    {12, 0, 1536, 100 * 1024}, {12, 1, 1536, 100 * 1024},
};

// Empty if the capability is unknown. By value, because GCC 12 with -fsanitize=undefined doesn't
// take a comparison of such a pointer with nullptr for a constant.
constexpr std::optional<CapabilityLimits> find_capability_limits(std::int32_t capability_major,
                                                                 std::int32_t capability_minor) {
  for (const CapabilityLimits& limits : kCapabilityLimits) {
    if (limits.capability_major == capability_major && limits.capability_minor == capability_minor)
      return limits;
  }
  return std::nullopt;
}

namespace gpu_model_check_internal {

constexpr std::string_view invalid_memory(const GpuModel& model) {
  constexpr std::uint64_t mib = 1024 * 1024;
  if (model.total_memory_bytes < 1024 * mib) return "total_memory_bytes is below 1 GiB";
  if (model.total_memory_bytes > 1024 * 1024 * mib) return "total_memory_bytes is above 1 TiB";
  // Contexts of 0.1 to 0.8 GiB have been seen; more than 2 GiB is a unit mistaken for another.
  if (model.context_memory_bytes < 32 * mib || model.context_memory_bytes > 2048 * mib)
    return "context_memory_bytes is not between 32 MiB and 2 GiB";
  if (model.context_memory_bytes > model.total_memory_bytes / 2)
    return "context_memory_bytes is more than half of total_memory_bytes";
  if (model.l2_cache_bytes < mib || model.l2_cache_bytes > 1024 * mib)
    return "l2_cache_bytes is not between 1 MiB and 1 GiB";
  if (!(model.dram_bandwidth_gb_per_s >= 100 && model.dram_bandwidth_gb_per_s <= 100'000))
    return "dram_bandwidth_gb_per_s is not between 100 and 100,000";
  return {};
}

constexpr std::string_view invalid_processor(const GpuModel& model) {
  const std::optional<CapabilityLimits> limits =
      find_capability_limits(model.capability_major, model.capability_minor);
  if (!limits.has_value()) return "the compute capability is not a known one";
  if (model.max_threads_per_multiprocessor != limits->max_threads_per_multiprocessor)
    return "max_threads_per_multiprocessor is not that of the compute capability";
  if (model.shared_memory_per_multiprocessor_bytes !=
      limits->shared_memory_per_multiprocessor_bytes)
    return "shared_memory_per_multiprocessor_bytes is not that of the compute capability";
  if (model.warp_size != 32) return "warp_size is not 32";
  if (model.multiprocessor_count < 1 || model.multiprocessor_count > 1024)
    return "multiprocessor_count is not between 1 and 1024";
  if (model.boost_clock_mhz < 500 || model.boost_clock_mhz > 5000)
    return "boost_clock_mhz is not between 500 and 5000";
  if (model.tdp_w < 20 || model.tdp_w > 5000) return "tdp_w is not between 20 and 5000";
  return {};
}

constexpr bool is_positive_or_empty(const std::optional<double>& value) {
  return !value.has_value() || *value > 0;
}

// A unit is present from a compute capability on: tensor cores for bf16 and TF32 from 8.0, for fp8
// from 8.9, for fp4 from 10.0.
constexpr std::string_view invalid_peak(const GpuModel& model) {
  const PeakRates& peak = model.peak;
  const std::optional<double>* const rates[] = {&peak.fp64, &peak.fp64_tensor_core,
                                                &peak.fp32, &peak.tf32,
                                                &peak.fp16, &peak.bf16,
                                                &peak.fp8,  &peak.int8,
                                                &peak.fp4};
  for (const std::optional<double>* rate : rates) {
    if (!is_positive_or_empty(*rate)) return "a peak is not positive";
  }
  const std::int32_t capability = model.capability_major * 10 + model.capability_minor;
  if (!peak.fp64.has_value() || !peak.fp32.has_value() || !peak.fp16.has_value() ||
      !peak.int8.has_value())
    return "peak.fp64, peak.fp32, peak.fp16 or peak.int8 is missing";
  if (peak.tf32.has_value() != (capability >= 80)) return "peak.tf32 contradicts the capability";
  if (peak.bf16.has_value() != (capability >= 80)) return "peak.bf16 contradicts the capability";
  if (peak.fp8.has_value() != (capability >= 89)) return "peak.fp8 contradicts the capability";
  if (peak.fp4.has_value() != (capability >= 100)) return "peak.fp4 contradicts the capability";
  if (*peak.fp64 > *peak.fp32) return "peak.fp64 is above peak.fp32";
  if (*peak.fp32 > *peak.fp16) return "peak.fp32 is above peak.fp16";
  if (*peak.fp16 > *peak.int8) return "peak.fp16 is above peak.int8";
  return {};
}

constexpr std::string_view invalid_link_and_price(const GpuModel& model) {
  const HostLink& link = model.host_link;
  if (link.pcie_generation < 3 || link.pcie_generation > 7)
    return "host_link.pcie_generation is not between 3 and 7";
  if (link.pcie_lane_count != 4 && link.pcie_lane_count != 8 && link.pcie_lane_count != 16)
    return "host_link.pcie_lane_count is not 4, 8 or 16";
  if (!is_positive_or_empty(link.nvlink_gb_per_s))
    return "host_link.nvlink_gb_per_s is not positive";
  if (!(model.modal_price_usd_per_s >= 0 && model.modal_price_usd_per_s < 0.1))
    return "modal_price_usd_per_s is not between 0 and 0.1";
  if (model.modal_price_usd_per_s > 0 && model.modal_price_date.empty())
    return "modal_price_date is missing";
  return {};
}

}  // namespace gpu_model_check_internal

// Why the model can't be right, or an empty text. A price of 0 means that none is known.
constexpr std::string_view invalid(const GpuModel& model) {
  namespace check = gpu_model_check_internal;
  if (model.type.empty()) return "type is missing";
  if (model.name.empty()) return "name is missing";
  for (const std::string_view reason :
       {check::invalid_memory(model), check::invalid_processor(model), check::invalid_peak(model),
        check::invalid_link_and_price(model)}) {
    if (!reason.empty()) return reason;
  }
  for (const Note& note : model.notes) {
    if (note.field.empty() || note.source.empty()) return "a note lacks its field or its source";
  }
  return {};
}

// Why the models can't stand in one table, or an empty text: each must be valid, and no name may
// mean two of them.
constexpr std::string_view invalid(std::span<const GpuModel> models) {
  for (std::size_t i = 0; i < models.size(); ++i) {
    if (const std::string_view reason = invalid(models[i]); !reason.empty()) return reason;
    for (std::size_t j = 0; j < i; ++j) {
      if (models[i].type == models[j].type || models[i].name == models[j].name ||
          models[i].type == models[j].name || models[i].name == models[j].type)
        return "two models share a name";
    }
  }
  return {};
}

}  // namespace torch_remote
