// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The scratch memory of CUB's device-wide algorithms (CCCL's cub/device/dispatch, release 3), which
// PyTorch asks the allocator for. Each cuts its input into tiles; a pass keeps a state for each
// tile. Every part is aligned to 256 bytes and the whole has 255 bytes to align its beginning, so
// sizes end in ...FF.
//
// The tile sizes are the ones that an H100 and an H200 showed for the types named; they come from
// CUB's tuning policies, which other architectures share or differ from by less than a megabyte at
// 10^8 items.
#pragma once

#include <cstdint>

#include "emulator/gpu_model.h"

namespace torch_remote::emulator::workspace {

// A radix sort of `item_count` keys, with values of value_size_bytes (0: keys alone), over
// digit_bytes of the key (0: all). Onesweep for four bytes of key and more: a second buffer of each
// kind, a histogram of 256 digits a pass, and a lookback state of 256 digits a tile. One tile of
// items is sorted without scratch.
std::uint64_t radix_sort_bytes(std::uint64_t item_count, std::uint64_t key_size_bytes,
                               std::uint64_t value_size_bytes, std::uint64_t digit_bytes = 0);

// A scan by decoupled look-back: 16 bytes of state a tile of tile_items, and 32 tiles more.
std::uint64_t scan_bytes(std::uint64_t item_count, std::uint64_t tile_items);

inline constexpr std::uint64_t kCumsumTileItems = 3840;       // of four bytes
inline constexpr std::uint64_t kRunLengthTileItems = 768;     // run-length encoding of int64
inline constexpr std::uint64_t kScanOfFlagsTileItems = 6144;  // of int64, scan by key
inline constexpr std::uint64_t kSelectTileItems = 8192;       // selection by flags, unique

// A scan by key, or of items of eight bytes: 24 bytes of state a tile.
std::uint64_t scan_by_key_bytes(std::uint64_t item_count);

// A reduction to one number over more than one tile: a partial result for each of five blocks a
// multiprocessor that the launch may have.
std::uint64_t device_reduce_bytes(std::uint64_t item_count, std::uint64_t item_size_bytes,
                                  const GpuModel& gpu);

}  // namespace torch_remote::emulator::workspace
