// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/session/plan_table.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace torch_remote::session {

// Multiply and fold, as in wyhash: two words a step, every bit of the input reaches the bucket
// index.
std::uint64_t hash_plan_key(PlanKey key) {
  __extension__ using Wide = unsigned __int128;
  constexpr std::uint64_t kFirst = 0xA0761D6478BD642F;
  constexpr std::uint64_t kSecond = 0xE7037ED1A0B428DB;
  const auto fold = [](std::uint64_t a, std::uint64_t b) {
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  };
  std::uint64_t hash = key.size() * kFirst;
  std::size_t i = 0;
  for (; i + 1 < key.size(); i += 2) hash = fold(hash ^ key[i] ^ kFirst, key[i + 1] ^ kSecond);
  if (i < key.size()) hash = fold(hash ^ key[i] ^ kFirst, kSecond);
  return hash;
}

PlanTable::PlanTable(std::uint32_t capacity)
    : plans_(std::max<std::uint32_t>(capacity, 1)),
      buckets_(std::bit_ceil(std::size_t{2} * plans_.size()), kEmpty) {}

std::optional<std::uint32_t> PlanTable::find(PlanKey key, std::uint64_t hash) {
  for (std::size_t bucket = first_bucket(hash);; bucket = (bucket + 1) & (buckets_.size() - 1)) {
    const std::uint32_t number = buckets_[bucket];
    if (number == kEmpty) return std::nullopt;
    Plan& plan = plans_[number];
    if (plan.hash == hash && std::ranges::equal(plan.key, key)) {
      plan.used = true;
      return number;
    }
  }
}

std::uint32_t PlanTable::insert(PlanKey key, std::uint64_t hash) {
  const std::uint32_t number = take_number();
  plans_[number].key.assign(key.begin(), key.end());
  plans_[number].hash = hash;
  plans_[number].used = false;
  std::size_t bucket = first_bucket(hash);
  while (buckets_[bucket] != kEmpty) bucket = (bucket + 1) & (buckets_.size() - 1);
  buckets_[bucket] = number;
  return number;
}

std::uint32_t PlanTable::take_number() {
  if (size_ < plans_.size()) return size_++;
  while (plans_[hand_].used) {
    plans_[hand_].used = false;
    hand_ = (hand_ + 1) % capacity();
  }
  const std::uint32_t number = hand_;
  hand_ = (hand_ + 1) % capacity();
  erase_bucket_of(number);
  return number;
}

// Closes the gap that the erased entry leaves, so that no probe sequence is cut.
void PlanTable::erase_bucket_of(std::uint32_t number) {
  const std::size_t mask = buckets_.size() - 1;
  std::size_t gap = first_bucket(plans_[number].hash);
  while (buckets_[gap] != number) gap = (gap + 1) & mask;
  for (std::size_t next = (gap + 1) & mask; buckets_[next] != kEmpty; next = (next + 1) & mask) {
    const std::size_t wanted = first_bucket(plans_[buckets_[next]].hash);
    // An entry may move back only to where its probe sequence still passes.
    if (((next - wanted) & mask) < ((next - gap) & mask)) continue;
    buckets_[gap] = buckets_[next];
    gap = next;
  }
  buckets_[gap] = kEmpty;
}

}  // namespace torch_remote::session
