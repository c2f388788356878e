// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Values by stream, in the order in which PyTorch's allocator goes through them. It keeps its
// pending events in a hash table, so which stream's blocks are free first, and with it what
// merges with what, follows from the hashes of the streams: this table has the same hashes, growth
// and displacement (c10/util/flat_hash_map.h: robin-hood probing, Fibonacci hashing, at most half
// full).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace torch_remote::emulator {

// Streams of a device: 0 is the default one, 1 to 32 are those of normal priority in the order in
// which CUDA's pool hands them out, 33 to 64 those of high priority.
using StreamNumber = std::uint32_t;
inline constexpr StreamNumber kStreamsPerPriority = 32;

// What PyTorch hashes of a CUDA stream.
constexpr std::uint64_t stream_hash(StreamNumber stream, std::int32_t device_index) {
  constexpr std::uint64_t kCudaDeviceType = 1;
  std::uint64_t id = 0;
  if (stream > 0) {
    const std::uint64_t index = (stream - 1) % kStreamsPerPriority;
    const std::uint64_t priority = (stream - 1) / kStreamsPerPriority;
    id = index << 5 | (priority + 1) << 1 | 1;
  }
  return kCudaDeviceType << 56 | static_cast<std::uint64_t>(device_index) << 48 | id;
}

template <typename Value>
class StreamTable {
 public:
  struct Slot {
    int distance = -1;  // from the slot that the hash asks for; -1 where the slot is empty
    std::uint64_t hash = 0;
    StreamNumber stream = 0;
    Value value{};
  };

  bool empty() const { return count_ == 0; }
  std::size_t size() const { return count_; }

  // Slots, empty ones among them, in the order of PyTorch's iteration.
  std::vector<Slot>& slots() { return slots_; }
  const std::vector<Slot>& slots() const { return slots_; }

  // The stream's value, which is made where there is none.
  Value& at(StreamNumber stream, std::int32_t device_index) {
    const std::uint64_t hash = stream_hash(stream, device_index);
    for (;;) {
      std::size_t slot = wanted(hash);
      int distance = 0;
      for (; slot < slots_.size() && slots_[slot].distance >= distance; ++slot, ++distance)
        if (slots_[slot].stream == stream) return slots_[slot].value;
      if (insert(slot, distance, hash, stream)) return slots_[slot].value;
      grow();
    }
  }

  // Whatever was displaced moves back, so the slot may hold the next value afterwards.
  void erase(std::size_t slot) {
    --count_;
    std::size_t next = slot + 1;
    for (; next < slots_.size() && slots_[next].distance > 0; ++slot, ++next) {
      slots_[slot] = std::move(slots_[next]);
      --slots_[slot].distance;
    }
    slots_[slot] = Slot{};
  }

  // Keeps the size of the table.
  void clear() {
    std::fill(slots_.begin(), slots_.end(), Slot{});
    count_ = 0;
  }

 private:
  static constexpr int kLookupsMin = 4;

  std::size_t wanted(std::uint64_t hash) const {
    constexpr std::uint64_t kGoldenRatio = 11400714819323198485ull;
    if (bucket_count_ == 0) return 0;
    return static_cast<std::size_t>((kGoldenRatio * hash) >>
                                    (64 - std::countr_zero(bucket_count_)));
  }

  // False where the table has to grow first.
  bool insert(std::size_t slot, int distance, std::uint64_t hash, StreamNumber stream) {
    if (bucket_count_ == 0 || distance == lookups_ || 2 * (count_ + 1) > bucket_count_)
      return false;
    // Displacing goes on until something is at an empty slot; none may be moved too far.
    std::vector<Slot> before = slots_;
    Slot moving{.distance = distance, .hash = hash, .stream = stream};
    for (;; ++slot) {
      if (slot >= slots_.size() || moving.distance == lookups_) {
        slots_ = std::move(before);
        return false;
      }
      if (slots_[slot].distance < 0) {
        slots_[slot] = std::move(moving);
        ++count_;
        return true;
      }
      if (slots_[slot].distance < moving.distance) std::swap(slots_[slot], moving);
      ++moving.distance;
    }
  }

  void grow() {
    std::vector<Slot> before = std::move(slots_);
    bucket_count_ = std::max<std::uint64_t>(4, 2 * bucket_count_);
    lookups_ = std::max(kLookupsMin, std::countr_zero(bucket_count_));
    slots_.assign(static_cast<std::size_t>(bucket_count_) + static_cast<std::size_t>(lookups_) - 1,
                  Slot{});
    count_ = 0;
    for (Slot& slot : before)
      if (slot.distance >= 0) at_hash(slot.hash, slot.stream) = std::move(slot.value);
  }

  Value& at_hash(std::uint64_t hash, StreamNumber stream) {
    for (;;) {
      std::size_t slot = wanted(hash);
      int distance = 0;
      while (slot < slots_.size() && slots_[slot].distance >= distance) ++slot, ++distance;
      if (insert(slot, distance, hash, stream)) return slots_[slot].value;
      grow();
    }
  }

  std::vector<Slot> slots_;
  std::uint64_t bucket_count_ = 0;
  int lookups_ = 0;
  std::size_t count_ = 0;
};

}  // namespace torch_remote::emulator
