// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A storage's id to its block, and the allocator's numbers.
#include "emulator/memory_observer.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "core/protocol/replies.h"
#include "core/session/errors.h"
#include "core/session/observer.h"
#include "emulator/allocator/allocator_statistics.h"
#include "emulator/allocator/caching_allocator.h"
#include "emulator/allocator/out_of_memory.h"

namespace torch_remote::emulator {

MemoryObserver::MemoryObserver(CachingAllocator allocator) : allocator_(std::move(allocator)) {}

void MemoryObserver::call(const session::ObservedCall& call) {
  for (std::size_t i = 0; i < call.outputs.size(); ++i) {
    try {
      allocate(call.outputs[i], call.stream, call.location);
    } catch (...) {
      while (i-- > 0) free(call.outputs[i].id, call.outputs[i].size_bytes);
      throw;
    }
  }
}

void MemoryObserver::allocate(const session::NewStorage& storage, std::uint32_t stream,
                              std::uint32_t location) {
  if (storage.size_bytes == 0) return;
  try {
    blocks_[storage.id] = allocator_.allocate(storage.size_bytes, stream, events_, location);
  } catch (const OutOfMemory& error) {
    blocks_.erase(storage.id);
    throw session::OutOfMemory(error.what());
  }
}

void MemoryObserver::free(session::TensorId id, std::uint64_t /*size_bytes*/) noexcept {
  const auto block = blocks_.find(id);
  if (block == blocks_.end()) return;  // empty
  allocator_.free(block->second, events_);
  blocks_.erase(block);
}

void MemoryObserver::record_stream(session::TensorId id, std::uint32_t stream) {
  if (const auto block = blocks_.find(id); block != blocks_.end())
    allocator_.record_stream(block->second, stream);
}

std::optional<protocol::Numbers> MemoryObserver::memory_statistics() {
  return memory_numbers(allocator_);
}

protocol::Numbers memory_numbers(const CachingAllocator& allocator) {
  protocol::Numbers numbers;
  for (auto& [name, number] : flat_statistics(allocator.statistics())) numbers[name] = number;
  numbers["free_bytes"] = static_cast<std::int64_t>(allocator.device().free_bytes());
  numbers["total_bytes"] = static_cast<std::int64_t>(allocator.device().total_bytes());
  return numbers;
}

}  // namespace torch_remote::emulator
