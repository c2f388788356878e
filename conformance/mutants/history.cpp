// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "conformance/mutants/history.h"

#include <utility>

namespace torch_remote::mutants {

void History::add(TensorId id, std::uint64_t size_bytes, bool has_content) {
  storages_[id] = {.size_bytes = size_bytes, .has_content = has_content, .old = std::nullopt};
}

void History::forget(TensorId id) { storages_.erase(id); }

void History::rename(TensorId id, TensorId new_id) {
  auto storage = storages_.extract(id);
  if (storage.empty()) return;
  storage.key() = new_id;
  storages_.insert(std::move(storage));
}

void History::before_change(TensorId id, Cause cause) {
  const auto found = storages_.find(id);
  if (found == storages_.end()) return;
  Storage& storage = found->second;
  if (is_cache()) {
    if (!remembers(cause)) storage.old.reset();
  } else if (remembers(cause)) {
    storage.old = content(id, storage);
  } else {
    storage.old.reset();
  }
  storage.has_content = true;
}

void History::before_read(TensorId id) {
  const auto found = storages_.find(id);
  if (!is_cache() || found == storages_.end() || found->second.old) return;
  found->second.old = content(id, found->second);
}

const Bytes* History::old(TensorId id) const {
  const auto found = storages_.find(id);
  return found != storages_.end() && found->second.old ? &*found->second.old : nullptr;
}

std::uint64_t History::size_bytes(TensorId id) const {
  const auto found = storages_.find(id);
  return found != storages_.end() ? found->second.size_bytes : 0;
}

// Whether what such a command changes is not seen.
bool History::remembers(Cause cause) const {
  switch (variation_) {
    case Variation::kReadBeforeWrite:
    case Variation::kReadCachedBesideWrites:
    case Variation::kOperandBeforeWrite:
      return cause == Cause::kWrite;
    case Variation::kReadBeforeInPlaceCall:
    case Variation::kReadCachedBesideCalls:
    case Variation::kOperandBeforeInPlaceCall:
      return cause != Cause::kWrite;
    case Variation::kReadBeforeOptimizer:
      return cause == Cause::kOptimizerCall;
    case Variation::kReadSecondHalfOld:
      return true;
    default:
      return false;
  }
}

bool History::is_cache() const {
  return variation_ == Variation::kReadCachedBesideWrites ||
         variation_ == Variation::kReadCachedBesideCalls;
}

// Zeros where nothing was written yet, so that what a mutant answers is the same every time.
Bytes History::content(TensorId id, const Storage& storage) {
  Bytes bytes(storage.size_bytes);
  if (storage.has_content) executor_.read(id, 0, bytes);
  return bytes;
}

}  // namespace torch_remote::mutants
