// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Lets the caching allocator's model watch a session: the emulated GPU is out of memory at the call
// where the real one would be.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "core/protocol/replies.h"
#include "core/session/observer.h"
#include "emulator/allocator/caching_allocator.h"
#include "emulator/allocator/models_memory.h"
#include "emulator/allocator/stream_events.h"

namespace torch_remote::emulator {

class MemoryObserver final : public session::SessionObserver, public ModelsMemory {
 public:
  explicit MemoryObserver(CachingAllocator allocator);

  // Both throw session::OutOfMemory with CUDA's text.
  void call(const session::ObservedCall& call) override;
  void allocate(const session::NewStorage& storage, std::uint32_t stream,
                std::uint32_t location) override;
  void free(session::TensorId id, std::uint64_t size_bytes) noexcept override;
  void record_stream(session::TensorId id, std::uint32_t stream) override;
  void synchronize() override { events_.synchronize_device(); }

  std::optional<protocol::Numbers> memory_statistics() override;
  void reset_peak_memory() noexcept override { allocator_.reset_peak(); }
  void reset_accumulated_memory() noexcept override { allocator_.reset_accumulated(); }
  void empty_cache() noexcept override { allocator_.empty_cache(events_); }

  CachingAllocator& allocator() override { return allocator_; }
  StreamEvents& stream_events() override { return events_; }

 private:
  CachingAllocator allocator_;
  EventsDoneAtSynchronize events_;
  std::unordered_map<session::TensorId, BlockIndex> blocks_;
};

// As torch.remote.memory_stats() has them: with "free_bytes" and "total_bytes".
protocol::Numbers memory_numbers(const CachingAllocator& allocator);

}  // namespace torch_remote::emulator
