// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a program can see of a GPU type, as one plain value, and the look-up of the built-in types.
// The rows are in gpu_models.cpp, the rules that every row obeys in gpu_model_check.h; the memory
// model (allocator/caching_allocator.h) and the device properties of `torch.remote` read from here.
//
// All functions are pure and may be called from any thread. Built-in rows live as long as the
// program. A GpuModel is a value whose texts and notes are views: whoever builds one of their own
// keeps the viewed characters alive for as long as the model and its copies are used.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace torch_remote {

// Where a value of a row comes from. `field` is the member's name in GpuModel, for example
// "boost_clock_mhz" or "peak.fp64". A value is uncertain where sources disagree, where it moves
// with driver or board, or where it was estimated.
struct Note {
  std::string_view field;
  std::string_view source;
  bool is_uncertain = false;
};

// Dense peaks, without sparsity: TFLOP/s, and TOP/s for int8. Empty where the hardware has no such
// unit; a dtype can still run without one, only slower (bf16 on the T4).
struct PeakRates {
  std::optional<double> fp64;
  std::optional<double> fp64_tensor_core;
  std::optional<double> fp32;
  std::optional<double> tf32;
  std::optional<double> fp16;
  std::optional<double> bf16;
  std::optional<double> fp8;
  std::optional<double> int8;
  std::optional<double> fp4;
};

// How the GPU is attached. NVLink is the sum of both directions, GB/s (10^9 bytes), as the data
// sheets count; empty where the board has none.
struct HostLink {
  std::int32_t pcie_generation = 0;
  std::int32_t pcie_lane_count = 0;
  std::optional<double> nvlink_gb_per_s;
};

// One GPU type. Sizes are in bytes, rates in 10^9 bytes a second (gb_per_s), clocks in MHz.
struct GpuModel {
  // The name by which users ask for the type, for example "A100-80GB".
  std::string_view type;
  // The name that CUDA reports, for example "NVIDIA A100-SXM4-80GB".
  std::string_view name;
  std::int32_t capability_major = 0;
  std::int32_t capability_minor = 0;
  std::int32_t multiprocessor_count = 0;
  std::int32_t max_threads_per_multiprocessor = 0;
  std::int32_t warp_size = 32;
  // All the memory that CUDA reports, before any context.
  std::uint64_t total_memory_bytes = 0;
  // What the CUDA context and its loaded kernels take of it; no allocator counts this part.
  std::uint64_t context_memory_bytes = 0;
  std::uint64_t l2_cache_bytes = 0;
  std::uint64_t shared_memory_per_multiprocessor_bytes = 0;
  double dram_bandwidth_gb_per_s = 0;
  std::int32_t boost_clock_mhz = 0;
  std::int32_t tdp_w = 0;
  HostLink host_link;
  PeakRates peak;
  // Modal's price for one such GPU, US dollars a second, on the date given.
  double modal_price_usd_per_s = 0;
  std::string_view modal_price_date;
  // Notes of this row alone; find_note() also knows those that all rows share.
  std::span<const Note> notes;
  // What a user's own GPU was made from (own_gpu.h); null for a built-in row.
  const std::map<std::string, std::string>* own_values = nullptr;
};

// Equal on every GPU of compute capability 7.5 to 10.0 (CUDA C++ Programming Guide, table
// "Technical Specifications per Compute Capability").
inline constexpr std::int32_t kMaxThreadsPerBlock = 1024;
inline constexpr std::int32_t kRegistersPerMultiprocessor = 65536;
inline constexpr std::uint64_t kSharedMemoryPerBlockBytes = 48 * 1024;

// The most shared memory that one block may ask for: all of a multiprocessor's on capability 7.5,
// all but 1 KiB from 8.0 on (same table).
constexpr std::uint64_t shared_memory_per_block_optin_bytes(const GpuModel& model) {
  const std::uint64_t reserved_bytes = model.capability_major >= 8 ? 1024 : 0;
  return model.shared_memory_per_multiprocessor_bytes - reserved_bytes;
}

// The memory that allocations can use, in bytes.
constexpr std::uint64_t usable_memory_bytes(const GpuModel& model) {
  return model.total_memory_bytes - model.context_memory_bytes;
}

// The built-in types, in the order of user-facing lists.
std::span<const GpuModel> gpu_models();

// The built-in model of that name, or nullptr. Names compare without regard to case. A model is
// found by its type, by the name that CUDA reports, and by the alias "A100", which is A100-40GB as
// on Modal. "A10" finds nothing: it is another card than the A10G.
const GpuModel* find_gpu_model(std::string_view name);

// As find_gpu_model(), but throws std::invalid_argument for an unknown name, with the nearest type
// if one is near, and the list of types.
const GpuModel& gpu_model(std::string_view name);

// The note on one of the model's values: the row's own, else the one that all rows share; nullptr
// where nothing is noted (an empty peak, for example).
const Note* find_note(const GpuModel& model, std::string_view field);

}  // namespace torch_remote
