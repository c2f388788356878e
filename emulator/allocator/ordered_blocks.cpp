// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Searching, inserting and erasing in a sorted list of chunks.
#include "emulator/allocator/ordered_blocks.h"

#include <cassert>
#include <cstddef>
#include <utility>
#include <vector>

namespace torch_remote::emulator {
namespace {

OrderedBlocks::Key key_of(const OrderedBlocks::Key& key) { return key; }
OrderedBlocks::Key key_of(const OrderedBlocks::Entry& entry) { return entry.key; }

// How many are less. Unlike std::lower_bound it always takes the same steps for a length, so that
// the processor has nothing to guess.
template <typename Item>
std::size_t count_less(const std::vector<Item>& sorted, const OrderedBlocks::Key& key) {
  const Item* first = sorted.data();
  std::size_t count = sorted.size();
  while (count > 1) {
    const std::size_t half = count / 2;
    first += key_of(first[half - 1]) < key ? half : 0;
    count -= half;
  }
  const bool is_last_less = count == 1 && key_of(*first) < key;
  return static_cast<std::size_t>(first - sorted.data()) + (is_last_less ? 1 : 0);
}

}  // namespace

OrderedBlocks::Place OrderedBlocks::find(const Key& key) const {
  const std::size_t chunk = count_less(last_, key);
  if (chunk == chunks_.size()) return end();
  return {.chunk = chunk, .entry = count_less(chunks_[chunk], key)};
}

void OrderedBlocks::insert(const Entry& entry) {
  if (chunks_.empty()) {
    chunks_.push_back(take_chunk());
    chunks_.back().push_back(entry);
    last_.push_back(entry.key);
    return;
  }
  Place place = find(entry.key);
  if (place == end()) place = {.chunk = chunks_.size() - 1, .entry = chunks_.back().size()};
  if (chunks_[place.chunk].size() == kChunkEntries) {
    constexpr std::size_t kHalf = kChunkEntries / 2;
    const auto after = static_cast<std::ptrdiff_t>(place.chunk) + 1;
    Chunk upper = take_chunk();
    Chunk& lower = chunks_[place.chunk];
    upper.assign(lower.begin() + kHalf, lower.end());
    lower.resize(kHalf);
    last_.insert(last_.begin() + after, upper.back().key);
    last_[place.chunk] = lower.back().key;
    chunks_.insert(chunks_.begin() + after, std::move(upper));
    if (place.entry > kHalf) place = {.chunk = place.chunk + 1, .entry = place.entry - kHalf};
  }
  Chunk& chunk = chunks_[place.chunk];
  chunk.insert(chunk.begin() + static_cast<std::ptrdiff_t>(place.entry), entry);
  last_[place.chunk] = chunk.back().key;
}

void OrderedBlocks::erase(Place place) {
  Chunk& chunk = chunks_[place.chunk];
  chunk.erase(chunk.begin() + static_cast<std::ptrdiff_t>(place.entry));
  if (!chunk.empty()) {
    last_[place.chunk] = chunk.back().key;
    return;
  }
  spare_.push_back(std::move(chunk));
  chunks_.erase(chunks_.begin() + static_cast<std::ptrdiff_t>(place.chunk));
  last_.erase(last_.begin() + static_cast<std::ptrdiff_t>(place.chunk));
}

void OrderedBlocks::erase(const Key& key) {
  const Place place = find(key);
  assert(place != end() && !(key < at(place).key) && "the block isn't there");
  erase(place);
}

OrderedBlocks::Chunk OrderedBlocks::take_chunk() {
  Chunk chunk;
  if (!spare_.empty()) {
    chunk = std::move(spare_.back());
    spare_.pop_back();
  }
  chunk.reserve(kChunkEntries);
  return chunk;
}

}  // namespace torch_remote::emulator
