// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/random/attention_dropout.h"

#include <algorithm>
#include <cmath>

#include "emulator/random/philox.h"
#include "emulator/random/transforms.h"

namespace torch_remote::emulator::random {
namespace {

constexpr int kFlashRounds = 7;
constexpr std::int64_t kLanes = 32;
constexpr std::int64_t kBlockRows = 16, kBlockColumns = 32;

// The places of a lane's 16 bytes in its block, as the tensor cores lay out their results: pairs of
// columns, 8 rows apart, 8 columns apart, 16 columns apart.
constexpr std::int64_t row_of(std::int64_t lane, std::size_t byte) {
  return lane / 4 + (byte & 2 ? 8 : 0);
}
constexpr std::int64_t column_of(std::int64_t lane, std::size_t byte) {
  return lane % 4 * 2 + (byte & 1 ? 1 : 0) + (byte & 4 ? 8 : 0) + (byte & 8 ? 16 : 0);
}

void flash_block(const ScoresShape& shape, std::uint64_t seed, std::uint64_t head_offset,
                 std::int64_t first_row, std::int64_t first_column, std::uint32_t kept_max,
                 float* head) {
  const auto place = static_cast<std::uint64_t>(first_row / kBlockRows) |
                     static_cast<std::uint64_t>(first_column / kBlockColumns) << 32;
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    const Bits4 words =
        philox<kFlashRounds>(seed, head_offset + static_cast<std::uint64_t>(lane), place);
    for (std::size_t byte = 0; byte < 16; ++byte) {
      const std::int64_t row = first_row + row_of(lane, byte);
      const std::int64_t column = first_column + column_of(lane, byte);
      if (row >= shape.query_count || column >= shape.key_count) continue;
      const std::uint32_t drawn = words[byte / 4] >> (byte % 4 * 8) & 0xFF;
      head[row * shape.key_count + column] = drawn <= kept_max ? 1.0f : 0.0f;
    }
  }
}

}  // namespace

void flash_kept(const ScoresShape& shape, std::uint64_t seed, std::uint64_t offset, double dropout,
                std::span<float> kept) {
  const float keep = 1.0f - static_cast<float>(dropout);
  const auto kept_max = static_cast<std::uint32_t>(std::floor(keep * 255.0));
  for (std::int64_t head = 0; head < shape.head_count; ++head) {
    const std::uint64_t head_offset = offset + static_cast<std::uint64_t>(head * kLanes);
    float* scores = kept.data() + head * shape.query_count * shape.key_count;
    for (std::int64_t row = 0; row < shape.query_count; row += kBlockRows) {
      for (std::int64_t column = 0; column < shape.key_count; column += kBlockColumns)
        flash_block(shape, seed, head_offset, row, column, kept_max, scores);
    }
  }
}

std::uint64_t flash_increment(const ScoresShape& shape) {
  return static_cast<std::uint64_t>(shape.head_count * kLanes);
}

void efficient_kept(const ScoresShape& shape, std::uint64_t seed, std::uint64_t offset,
                    double dropout, std::span<float> kept) {
  const auto p = static_cast<float>(dropout);
  const std::size_t count = shape.element_count();
  for (std::size_t element = 0; element < count;) {
    const std::uint64_t position = offset + element;
    const Bits4 words = philox(seed, position / 4, 0);
    for (std::size_t word = position % 4; word < 4 && element < count; ++word, ++element)
      kept[element] = uniform_float(words[word]) > p ? 1.0f : 0.0f;
  }
}

std::uint64_t efficient_increment(const ScoresShape& shape) { return shape.element_count(); }

}  // namespace torch_remote::emulator::random
