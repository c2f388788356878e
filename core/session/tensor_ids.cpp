// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/session/tensor_ids.h"

#include <algorithm>
#include <cassert>
#include <stdexcept>
#include <string>

namespace torch_remote::session {
namespace {

constexpr std::uint64_t kFixedBits = std::uint64_t{1} << 62 | std::uint64_t{1} << 55;
constexpr std::uint64_t kProvisionalBit = std::uint64_t{1} << 60;
constexpr unsigned kProvisionalBits = 20;

}  // namespace

TensorIds::TensorIds(unsigned device, std::uint64_t arena_size_bytes)
    : device_bits_(std::uint64_t{device} << 56), arena_size_bytes_(arena_size_bytes) {
  assert(device < 16 && arena_size_bytes <= std::uint64_t{1} << kArenaBits);
}

TensorId TensorIds::acquire(std::uint64_t size_bytes) {
  if (size_bytes > arena_size_bytes_) {
    throw std::length_error("a tensor of " + std::to_string(size_bytes) +
                            " bytes is larger than the device's address range");
  }
  const std::uint64_t taken =
      (std::max<std::uint64_t>(size_bytes, 1) + kAlignmentBytes - 1) & ~(kAlignmentBytes - 1);
  if (taken > arena_size_bytes_ - cursor_) enter_free_arena();
  const TensorId id = base() + cursor_;
  cursor_ += taken;
  ++live_[arena_];
  return id;
}

void TensorIds::release(TensorId id) {
  const unsigned arena = static_cast<unsigned>(id >> kArenaBits) % kArenaCount;
  assert(live_[arena] > 0);
  --live_[arena];
}

TensorId TensorIds::acquire_provisional() {
  return kFixedBits | kProvisionalBit | device_bits_ | provisional_++ << kProvisionalBits;
}

void TensorIds::enter_free_arena() {
  for (unsigned step = 1; step <= kArenaCount; ++step) {
    const unsigned candidate = (arena_ + step) % kArenaCount;
    if (live_[candidate] != 0) continue;
    arena_ = candidate;
    cursor_ = 0;
    return;
  }
  throw std::length_error("no address range is free: tensors live in every part of it");
}

TensorId TensorIds::base() const {
  return kFixedBits | device_bits_ | std::uint64_t{arena_} << kArenaBits;
}

}  // namespace torch_remote::session
