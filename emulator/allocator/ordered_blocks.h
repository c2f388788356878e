// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The free blocks of a pool and stream by size, then by the age of their segment, then by address:
// where a request takes the smallest that is large enough. A sorted list in chunks of a few cache
// lines: inserting and erasing moves at most one chunk, nothing is allocated for a block, and a
// copy is a copy of arrays.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace torch_remote::emulator {

// A block's number in its allocator.
using BlockIndex = std::uint32_t;
inline constexpr BlockIndex kNoBlock = ~BlockIndex{0};

class OrderedBlocks {
 public:
  // What blocks are ordered by. Addresses are multiples of 512 bytes, below 2^48.
  class Key {
   public:
    Key() = default;
    Key(std::uint64_t size_bytes, std::uint32_t segment_number, std::uint64_t address)
        : size_bytes_(size_bytes),
          place_(std::uint64_t{segment_number} << kAddressBits | address / kBlockBytes) {
      assert(segment_number >> (64 - kAddressBits) == 0 && "too many segments");
    }
    std::uint64_t size_bytes() const { return size_bytes_; }
    // Without a branch: which way it goes can't be predicted.
    friend bool operator<(const Key& left, const Key& right) {
      return static_cast<bool>(static_cast<unsigned>(left.size_bytes_ < right.size_bytes_) |
                               (static_cast<unsigned>(left.size_bytes_ == right.size_bytes_) &
                                static_cast<unsigned>(left.place_ < right.place_)));
    }

   private:
    static constexpr int kAddressBits = 39;
    static constexpr std::uint64_t kBlockBytes = 512;

    std::uint64_t size_bytes_ = 0;
    std::uint64_t place_ = 0;
  };

  struct Entry {
    Key key;
    BlockIndex block = kNoBlock;
  };

  // A place in the list. Inserting and erasing make all places invalid.
  struct Place {
    std::size_t chunk = 0;
    std::size_t entry = 0;
    bool operator==(const Place&) const = default;
  };

  bool empty() const { return chunks_.empty(); }

  Place begin() const { return {}; }
  Place end() const { return {.chunk = chunks_.size()}; }
  const Entry& at(Place place) const { return chunks_[place.chunk][place.entry]; }
  Place next(Place place) const {
    if (++place.entry == chunks_[place.chunk].size()) place = {.chunk = place.chunk + 1};
    return place;
  }
  Place previous(Place place) const {
    if (place.entry > 0) return {.chunk = place.chunk, .entry = place.entry - 1};
    return {.chunk = place.chunk - 1, .entry = chunks_[place.chunk - 1].size() - 1};
  }

  // The first of at least that size.
  Place lower_bound(std::uint64_t size_bytes) const { return find(Key(size_bytes, 0, 0)); }
  // No two entries may have the same key.
  void insert(const Entry& entry);
  void erase(Place place);
  // An entry with the key has to be there.
  void erase(const Key& key);

 private:
  static constexpr std::size_t kChunkEntries = 32;
  using Chunk = std::vector<Entry>;

  // The first that isn't less.
  Place find(const Key& key) const;
  Chunk take_chunk();

  std::vector<Chunk> chunks_;  // none is empty
  std::vector<Key> last_;      // of each chunk the last key, to search in
  std::vector<Chunk> spare_;   // empty, to be used again
};

}  // namespace torch_remote::emulator
