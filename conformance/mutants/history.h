// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What storages held before they were changed: the memory of a mutant whose reads are stale.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "conformance/mutants/mutation.h"
#include "conformance/mutants/places.h"
#include "core/executor/executor.h"

namespace torch_remote::mutants {

// Bytes of a whole storage.
using Bytes = std::vector<std::byte>;

class History {
 public:
  enum class Cause : std::uint8_t { kWrite, kCall, kOptimizerCall };

  // Remembers nothing for other variations than those of stale reads.
  History(executor::Executor& executor, Variation variation)
      : executor_(executor), variation_(variation) {}

  void add(TensorId id, std::uint64_t size_bytes, bool has_content);
  void forget(TensorId id);
  void rename(TensorId id, TensorId new_id);

  // Before a command changes the storage.
  void before_change(TensorId id, Cause cause);
  // Before it is read by the client; what was remembered is what a stale read answers.
  void before_read(TensorId id);
  const Bytes* old(TensorId id) const;

  std::uint64_t size_bytes(TensorId id) const;

 private:
  struct Storage {
    std::uint64_t size_bytes = 0;
    bool has_content = false;
    std::optional<Bytes> old;
  };

  bool remembers(Cause cause) const;
  bool is_cache() const;
  Bytes content(TensorId id, const Storage& storage);

  executor::Executor& executor_;
  Variation variation_;
  std::unordered_map<TensorId, Storage> storages_;
};

}  // namespace torch_remote::mutants
