// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A kernel is as slow as the slowest of what it waits for: memory, the arithmetic units, or chains
// of dependent steps; and it never takes less than a floor.
#include "emulator/time/kernel_duration.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>

namespace torch_remote::emulator {
namespace {

constexpr double kClockOfCalibrationMhz = 1980;

// Generations of multiprocessors: what they reach of their peaks differs.
enum class Generation { kTuring, kAmpere, kAmpereSmall, kAda, kHopper, kBlackwell };
constexpr std::size_t kGenerationCount = 6;

Generation generation(const GpuModel& gpu) {
  if (gpu.capability_major >= 10) return Generation::kBlackwell;
  if (gpu.capability_major == 9) return Generation::kHopper;
  if (gpu.capability_major < 8) return Generation::kTuring;
  if (gpu.capability_minor >= 9) return Generation::kAda;
  return gpu.capability_minor == 0 ? Generation::kAmpere : Generation::kAmpereSmall;
}

// Stacked memory, as against GDDR6: its share of the peak rate is higher.
bool has_stacked_memory(const GpuModel& gpu) {
  return gpu.capability_major == 10 || (gpu.capability_minor == 0 && gpu.capability_major < 12);
}

bool is_tensor_core_unit(MathUnit unit) {
  return unit != MathUnit::kFp32 && unit != MathUnit::kFp64;
}

// bfloat16 on a GPU without a unit for it: products are computed in float32.
bool stands_in(MathUnit unit, const GpuModel& gpu) {
  return (unit == MathUnit::kBf16 && !gpu.peak.bf16) || (unit == MathUnit::kTf32 && !gpu.peak.tf32);
}

double clock_ratio(const GpuModel& gpu) { return kClockOfCalibrationMhz / gpu.boost_clock_mhz; }

// Largest where one is far larger than the others, more where several are alike and overlap badly.
double smooth_maximum(std::span<const double> values, double exponent) {
  const double largest = *std::ranges::max_element(values);
  if (largest <= 0) return 0;
  double sum = 0;
  for (const double value : values) sum += std::pow(value / largest, exponent);
  return largest * std::pow(sum, 1 / exponent);
}

// --- Memory

struct Memory {
  double dram_bytes_per_us;
  double l2_bytes_per_us;
};

Memory memory(const GpuModel& gpu, const Calibration& c) {
  const double share = has_stacked_memory(gpu) ? c.dram_share_stacked : c.dram_share_gddr;
  return {.dram_bytes_per_us = gpu.dram_bandwidth_gb_per_s * 1e3 * share,
          .l2_bytes_per_us = c.l2_bytes_per_cycle * gpu.multiprocessor_count * gpu.boost_clock_mhz};
}

// The share of accesses that the L2 cache serves, of data of that many bytes that was used before.
double l2_hit_share(double footprint_bytes, const GpuModel& gpu, CacheState cache,
                    const Calibration& c) {
  if (cache == CacheState::kCold) return 0;
  const double filled = footprint_bytes / static_cast<double>(gpu.l2_cache_bytes);
  const double fits =
      std::clamp((c.l2_full_at - filled) / (c.l2_full_at - c.l2_kept_until), 0.0, 1.0);
  return cache == CacheState::kRepeated ? fits : fits * c.l2_hits_in_programs;
}

double transfer_us(double bytes, double footprint_bytes, double share, const GpuModel& gpu,
                   CacheState cache, const Calibration& c) {
  if (bytes <= 0) return 0;
  const Memory rates = memory(gpu, c);
  const double hits = l2_hit_share(footprint_bytes, gpu, cache, c);
  return bytes / share * ((1 - hits) / rates.dram_bytes_per_us + hits / rates.l2_bytes_per_us);
}

// --- Arithmetic

double generation_share(const GpuModel& gpu, bool is_tensor_core, const Calibration& c) {
  const std::array<double, kGenerationCount> tensor_core = {
      c.tensor_share_turing, c.tensor_share_ampere, c.tensor_share_ampere_small,
      c.tensor_share_ada,    c.tensor_share_hopper, c.tensor_share_blackwell};
  const std::array<double, kGenerationCount> fp32 = {
      c.fp32_share_turing, c.fp32_share_ampere, c.fp32_share_ampere_small,
      c.fp32_share_ada,    c.fp32_share_hopper, c.fp32_share_blackwell};
  const auto index = static_cast<std::size_t>(generation(gpu));
  return is_tensor_core ? tensor_core[index] : fp32[index];
}

// How much more a generation computes with a joule than Turing, by the node that it is made in.
double energy_factor(const GpuModel& gpu) {
  constexpr std::array<double, kGenerationCount> kFactors = {1, 2, 1.6, 3, 3, 3.6};
  return kFactors[static_cast<std::size_t>(generation(gpu))];
}

// What the power limit leaves of the rate: cards whose peak is high for their power lower their
// clock. The limiter averages, so short kernels run faster.
double power_share(double peak, double duration_us, bool is_tensor_core, const GpuModel& gpu,
                   const Calibration& c) {
  if (gpu.tdp_w <= 0) return 1;
  const double limit = is_tensor_core ? c.tensor_tflops_per_w : c.fp32_tflops_per_w;
  const double load = peak / gpu.tdp_w / energy_factor(gpu) / limit;
  const double sustained = 1 / std::sqrt(1 + load * load);
  const double weight = duration_us / (duration_us + c.power_onset_us);
  return 1 + (sustained - 1) * (c.power_short_share + (1 - c.power_short_share) * weight);
}

double unit_share(MathUnit unit, const Calibration& c) {
  switch (unit) {
    case MathUnit::kFp64:
      return c.fp64_share;
    case MathUnit::kTf32:
      return c.tf32_share;
    case MathUnit::kFp8:
      return c.fp8_share;
    case MathUnit::kInt8:
      return c.int8_share;
    default:
      return 1;
  }
}

// Operations a microsecond of the whole GPU at its best, for work that takes about that long.
double sustained_rate(MathUnit unit, double operations, const GpuModel& gpu, const Calibration& c) {
  const double peak = peak_tflops(unit, gpu);
  const bool is_tensor_core = is_tensor_core_unit(unit) && !stands_in(unit, gpu);
  double share = generation_share(gpu, is_tensor_core, c);
  if (unit == MathUnit::kFp64) share = 1;
  if (stands_in(unit, gpu) && unit == MathUnit::kBf16) share *= c.bf16_stand_in_share;
  const double rate = peak * 1e6 * share * (stands_in(unit, gpu) ? 1 : unit_share(unit, c));
  return rate * power_share(peak, operations / rate, is_tensor_core, gpu, c);
}

struct Tile {
  double rows;
  double columns;
};

constexpr Tile kTensorCoreTiles[] = {{256, 128}, {128, 256}, {128, 128}, {128, 64}, {64, 128},
                                     {64, 64},   {64, 32},   {64, 16},   {64, 8},   {8, 64}};
constexpr Tile kFp32Tiles[] = {{128, 128}, {128, 64}, {64, 128}, {64, 64}, {64, 32},
                               {32, 64},   {32, 32},  {16, 16},  {1, 64},  {64, 1}};
constexpr double kSplits[] = {1, 2, 4, 8, 16, 32};

// Blocks of the grid run in waves over the multiprocessors; the last one may be mostly empty.
double wave_count(double blocks, const GpuModel& gpu, double quantisation) {
  const double waves = blocks / gpu.multiprocessor_count;
  if (waves <= 1) return 1;
  return waves + quantisation * (std::ceil(waves) - waves);
}

double tiled_us(const Product& p, Tile tile, double split, double rate, const GpuModel& gpu,
                const Calibration& c, bool is_tensor_core) {
  const double depth = std::ceil(p.k / split);
  const double blocks =
      p.batch * std::ceil(p.m / tile.rows) * std::ceil(p.n / tile.columns) * split;
  const double edge = is_tensor_core ? c.tensor_tile_edge : c.fp32_tile_edge;
  // Small tiles load more for each operation; relative to the tile of large products.
  const double tile_share =
      (1 + edge * (1.0 / 256 + 1.0 / 128)) / (1 + edge * (1 / tile.rows + 1 / tile.columns));
  const double block_rate = rate / gpu.multiprocessor_count * tile_share;
  const double steps = depth + (is_tensor_core ? c.tensor_start_steps : c.fp32_start_steps);
  const double arithmetic_us = wave_count(blocks, gpu, c.wave_quantisation) * 2 * tile.rows *
                               tile.columns * steps / block_rate;
  double us = arithmetic_us + depth * c.product_step_us * clock_ratio(gpu);
  if (split > 1) {
    us += c.split_us * clock_ratio(gpu) +
          split * p.batch * p.m * p.n * 8 / memory(gpu, c).l2_bytes_per_us;
  }
  return us;
}

double product_us(const Product& p, double memory_us, const GpuModel& gpu, const Calibration& c) {
  const double operations = 2 * p.batch * p.m * p.n * p.k;
  if (operations <= 0) return memory_us;
  const bool is_tensor_core = is_tensor_core_unit(p.unit) && !stands_in(p.unit, gpu);
  double rate = sustained_rate(p.unit, operations, gpu, c) * p.rate_share;
  if (is_tensor_core && !p.is_aligned) {
    rate *= p.unit == MathUnit::kTf32 ? c.unaligned_tf32_share : c.unaligned_half_share;
  }
  double best_us = 0;
  for (const Tile tile : is_tensor_core ? std::span<const Tile>(kTensorCoreTiles)
                                        : std::span<const Tile>(kFp32Tiles)) {
    for (const double split : kSplits) {
      if (split > 1 && p.k / split < 64) break;
      const double us = tiled_us(p, tile, split, rate, gpu, c, is_tensor_core);
      if (best_us == 0 || us < best_us) best_us = us;
    }
  }
  return smooth_maximum(std::array{best_us, memory_us}, c.product_overlap_exponent) +
         (is_tensor_core ? c.tensor_floor_us : c.fp32_floor_us) * clock_ratio(gpu);
}

// Pairs of a query and a key that a multiprocessor works through in a cycle: softmax, not the
// products, bounds the kernels of heads up to 128 wide.
double attention_pairs_per_cycle(const FusedAttention& a, const Calibration& c) {
  const bool is_half = is_tensor_core_unit(a.unit);
  if (!is_half) return a.is_backward ? c.attention_fp32_backward_pairs : c.attention_fp32_pairs;
  switch (a.kernel) {
    case AttentionKernel::kCudnn:
      return a.is_backward ? c.attention_cudnn_backward_pairs : c.attention_cudnn_pairs;
    case AttentionKernel::kFlash:
      return a.is_backward ? c.attention_flash_backward_pairs : c.attention_flash_pairs;
    default:
      return a.is_backward ? c.attention_efficient_backward_pairs : c.attention_efficient_pairs;
  }
}

double attention_us(const FusedAttention& a, double memory_us, const GpuModel& gpu,
                    const Calibration& c) {
  constexpr double kBlockRows = 128;
  const double pairs = a.heads * a.query_length * a.key_length * a.pair_share;
  const double operations = 2 * (a.is_backward ? 5 : 2) * pairs * a.width;
  if (operations <= 0) return memory_us;
  const double blocks =
      a.heads * std::ceil((a.is_backward ? a.key_length : a.query_length) / kBlockRows);
  const double idle =
      wave_count(blocks, gpu, c.wave_quantisation) * gpu.multiprocessor_count / blocks;
  const double cycles_per_us = gpu.multiprocessor_count * static_cast<double>(gpu.boost_clock_mhz);
  const double softmax_us = pairs / (attention_pairs_per_cycle(a, c) * cycles_per_us);
  const double product_us = operations / (sustained_rate(a.unit, operations, gpu, c) *
                                          (is_tensor_core_unit(a.unit) ? c.attention_product_share
                                                                       : c.attention_fp32_share));
  // A single query is spread over the multiprocessors by its keys.
  const double spread = a.query_length > 1 ? idle : 1;
  return smooth_maximum(std::array{std::max(softmax_us, product_us) * spread, memory_us},
                        c.product_overlap_exponent) +
         (a.is_backward ? c.attention_backward_floor_us : c.attention_floor_us) * clock_ratio(gpu);
}

double streaming_us(const Streaming& s, const GpuModel& gpu) {
  if (s.cycles_per_element <= 0) return 0;
  double busy = gpu.multiprocessor_count;
  if (s.pieces > 0) busy = std::min(busy, s.pieces / s.pieces_per_multiprocessor);
  return s.elements * s.cycles_per_element / (busy * gpu.boost_clock_mhz);
}

}  // namespace

double peak_tflops(MathUnit unit, const GpuModel& gpu) {
  const PeakRates& peak = gpu.peak;
  const double fp32 = peak.fp32.value_or(1);
  switch (unit) {
    case MathUnit::kFp64:
      return peak.fp64_tensor_core.value_or(peak.fp64.value_or(fp32 / 64));
    case MathUnit::kFp32:
      return fp32;
    case MathUnit::kTf32:
      return peak.tf32.value_or(fp32);
    case MathUnit::kFp16:
      return peak.fp16.value_or(fp32);
    case MathUnit::kBf16:
      return peak.bf16.value_or(fp32);
    case MathUnit::kFp8:
      return peak.fp8.value_or(peak.fp16.value_or(fp32));
    case MathUnit::kInt8:
      return peak.int8.value_or(peak.fp16.value_or(fp32));
  }
  return fp32;
}

double operation_count(const KernelWork& work) {
  if (work.product) {
    const Product& p = *work.product;
    return 2 * p.batch * p.m * p.n * p.k;
  }
  if (work.attention) {
    const FusedAttention& a = *work.attention;
    return 2 * (a.is_backward ? 5 : 2) * a.heads * a.query_length * a.key_length * a.pair_share *
           a.width;
  }
  return work.streaming.elements;
}

double kernel_us(const KernelWork& work, const GpuModel& gpu, CacheState cache,
                 const Calibration& calibration) {
  const double bytes = work.read_bytes + work.written_bytes;
  const double footprint = work.footprint_bytes > 0 ? work.footprint_bytes : bytes;
  const double memory_us =
      transfer_us(bytes, footprint, work.bandwidth_share, gpu, cache, calibration);
  if (work.product) return product_us(*work.product, memory_us, gpu, calibration) + work.extra_us;
  if (work.attention)
    return attention_us(*work.attention, memory_us, gpu, calibration) + work.extra_us;
  return work.launches * calibration.stream_floor_us * clock_ratio(gpu) + work.extra_us +
         smooth_maximum(std::array{memory_us, streaming_us(work.streaming, gpu)},
                        calibration.stream_overlap_exponent);
}

}  // namespace torch_remote::emulator
