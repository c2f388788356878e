// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/workspace/cub_scratch.h"

#include <cstdint>

#include "emulator/gpu_model.h"
#include "emulator/workspace/call_view.h"

namespace torch_remote::emulator::workspace {
namespace {

constexpr std::uint64_t kAlignment = 256;
// For what needs no scratch CUB asks for one byte, so that a null pointer means a question.
constexpr std::uint64_t kNoScratchBytes = 1;
constexpr std::uint64_t kDigits = 256;

std::uint64_t whole(std::uint64_t parts_bytes) { return parts_bytes + kAlignment - 1; }

// Items of a onesweep tile: 384 threads of as many items as the tuning policy gives the types.
std::uint64_t sort_tile_items(std::uint64_t key_size_bytes, std::uint64_t value_size_bytes) {
  constexpr std::uint64_t kThreads = 384;
  if (value_size_bytes == 0) return kThreads * (key_size_bytes <= 4 ? 19 : 15);
  return kThreads * (key_size_bytes + value_size_bytes <= 12 ? 14 : 12);
}

// What one block sorts by itself: 256 threads of 19 items of four bytes.
std::uint64_t single_sort_tile_items(std::uint64_t key_size_bytes) {
  return 256 * 19 * 4 / (key_size_bytes < 4 ? 4 : key_size_bytes);
}

}  // namespace

std::uint64_t radix_sort_bytes(std::uint64_t item_count, std::uint64_t key_size_bytes,
                               std::uint64_t value_size_bytes, std::uint64_t digit_bytes) {
  if (item_count <= single_sort_tile_items(key_size_bytes)) return kNoScratchBytes;
  const std::uint64_t passes = digit_bytes == 0 ? key_size_bytes : digit_bytes;
  const std::uint64_t tiles =
      divide_up(item_count, sort_tile_items(key_size_bytes, value_size_bytes));
  // A single pass goes straight to its result.
  const std::uint64_t buffers_bytes = passes == 1
                                          ? 0
                                          : round_up(item_count * key_size_bytes, kAlignment) +
                                                round_up(item_count * value_size_bytes, kAlignment);
  const std::uint64_t histograms_bytes = passes * kDigits * sizeof(std::uint64_t);
  const std::uint64_t lookback_bytes = tiles * kDigits * sizeof(std::uint32_t);
  return whole(buffers_bytes + histograms_bytes + lookback_bytes + kAlignment /* counters */);
}

std::uint64_t scan_bytes(std::uint64_t item_count, std::uint64_t tile_items) {
  constexpr std::uint64_t kStateBytes = 16, kPaddingTiles = 32;
  const std::uint64_t tiles = divide_up(item_count, tile_items) + kPaddingTiles;
  return whole(round_up(tiles * kStateBytes, kAlignment));
}

std::uint64_t scan_by_key_bytes(std::uint64_t item_count) {
  constexpr std::uint64_t kTileItems = 1024, kStateBytes = 24, kPaddingTiles = 32;
  const std::uint64_t tiles = divide_up(item_count, kTileItems) + kPaddingTiles;
  return whole(round_up(tiles * kStateBytes, kAlignment));
}

std::uint64_t device_reduce_bytes(std::uint64_t item_count, std::uint64_t item_size_bytes,
                                  const GpuModel& gpu) {
  constexpr std::uint64_t kTileItems = 4096, kThreads = 256, kSubscription = 5;
  if (item_count <= kTileItems) return kNoScratchBytes;
  const auto multiprocessors = static_cast<std::uint64_t>(gpu.multiprocessor_count);
  const auto blocks = static_cast<std::uint64_t>(gpu.max_threads_per_multiprocessor) / kThreads;
  const std::uint64_t partials = multiprocessors * blocks * kSubscription;
  return whole(round_up(partials * item_size_bytes, kAlignment));
}

}  // namespace torch_remote::emulator::workspace
