// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Small numbers for live storages, so that each model keeps what it knows of them in an array: one
// look-up an allocation, however many models there are.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/session/tensor_ids.h"

namespace torch_remote::emulator {

using SlotNumber = std::uint32_t;

// A hash table with linear probing, at most half full. Not thread-safe.
class StorageSlots {
 public:
  // A number below capacity() that no live storage has. The id must not have one.
  SlotNumber acquire(session::TensorId id) {
    if (2 * (live_ + 1) > entries_.size()) grow();
    const SlotNumber slot = unused_.empty() ? capacity_++ : unused_.back();
    if (!unused_.empty()) unused_.pop_back();
    insert({.id = id, .slot = slot});
    ++live_;
    return slot;
  }
  // The id has a slot from acquire(), which others get from now on.
  SlotNumber release(session::TensorId id) {
    std::size_t hole = place_of(id);
    assert(is_taken(hole) && "the storage has no slot");
    const SlotNumber slot = entries_[hole].slot;
    unused_.push_back(slot);
    --live_;
    // Those behind move up where the hole would hide them.
    for (std::size_t at = next(hole); is_taken(at); at = next(at)) {
      const std::size_t wanted = first_place(entries_[at].id);
      const bool may_stay =
          hole <= at ? hole < wanted && wanted <= at : hole < wanted || wanted <= at;
      if (may_stay) continue;
      entries_[hole] = entries_[at];
      hole = at;
    }
    entries_[hole] = {};
    return slot;
  }
  SlotNumber find(session::TensorId id) const {
    const std::size_t place = place_of(id);
    assert(is_taken(place) && "the storage has no slot");
    return entries_[place].slot;
  }
  bool contains(session::TensorId id) const { return is_taken(place_of(id)); }

  // One more than the largest number so far.
  SlotNumber capacity() const { return capacity_; }

 private:
  // No storage has the id 0.
  struct Entry {
    session::TensorId id = 0;
    SlotNumber slot = 0;
  };

  std::size_t first_place(session::TensorId id) const {
    constexpr std::uint64_t kGoldenRatio = 0x9E3779B97F4A7C15;
    return static_cast<std::size_t>((id * kGoldenRatio) >> 32) & (entries_.size() - 1);
  }
  std::size_t next(std::size_t place) const { return (place + 1) & (entries_.size() - 1); }
  bool is_taken(std::size_t place) const { return entries_[place].id != 0; }
  // Of the id, or the empty place where it would come.
  std::size_t place_of(session::TensorId id) const {
    std::size_t place = first_place(id);
    while (is_taken(place) && entries_[place].id != id) place = next(place);
    return place;
  }
  void insert(const Entry& entry) { entries_[place_of(entry.id)] = entry; }
  void grow() {
    const std::vector<Entry> before =
        std::exchange(entries_, std::vector<Entry>(2 * entries_.size()));
    for (const Entry& entry : before) {
      if (entry.id != 0) insert(entry);
    }
  }

  std::vector<Entry> entries_ = std::vector<Entry>(1024);  // a power of two
  std::vector<SlotNumber> unused_;
  SlotNumber capacity_ = 0;
  std::size_t live_ = 0;
};

}  // namespace torch_remote::emulator
