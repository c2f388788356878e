// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Which plan number stands for which call. Bounded: when it is full, a plan that was not used of
// late gives up its number, and the next definition under that number replaces it on the executor,
// too.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace torch_remote::session {

// The words that make two calls the same: operator, layouts, fixed arguments. Not owning.
using PlanKey = std::span<const std::uint64_t>;

std::uint64_t hash_plan_key(PlanKey key);

// Maps keys to numbers below capacity. Open addressing with linear probing over a table twice as
// large; eviction by a clock hand that spares what was found since it last passed. Not thread-safe.
class PlanTable {
 public:
  explicit PlanTable(std::uint32_t capacity);

  // The plan's number, marked as used. hash has to be hash_plan_key(key).
  std::optional<std::uint32_t> find(PlanKey key, std::uint64_t hash);

  // Gives the key a number; key must not be in the table. The number may have been another key's.
  std::uint32_t insert(PlanKey key, std::uint64_t hash);

  std::uint32_t capacity() const { return static_cast<std::uint32_t>(plans_.size()); }
  std::uint32_t size() const { return size_; }

 private:
  struct Plan {
    std::vector<std::uint64_t> key;
    std::uint64_t hash = 0;
    bool used = false;
  };
  static constexpr std::uint32_t kEmpty = ~std::uint32_t{0};

  std::uint32_t take_number();
  void erase_bucket_of(std::uint32_t number);
  std::size_t first_bucket(std::uint64_t hash) const { return hash & (buckets_.size() - 1); }

  std::vector<Plan> plans_;
  std::vector<std::uint32_t> buckets_;
  std::uint32_t size_ = 0;
  std::uint32_t hand_ = 0;
};

}  // namespace torch_remote::session
