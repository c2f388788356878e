// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/pinned_memory.h"

#include <atomic>
#include <c10/core/DeviceType.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/alloc_cpu.h>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

namespace torch_remote::client {
namespace {

struct PinnedBlock : at::HostBlock<c10::Stream> {
  using at::HostBlock<c10::Stream>::HostBlock;
  // The tensor that owns the block, and each copy under way. Who counts to zero gives it back.
  std::atomic<std::uint32_t> users{0};
};

// Never made: the copies count themselves, so a block waits for no stream.
struct NoEvent {};

using CachingPool = at::CachingHostAllocatorImpl<c10::Stream, NoEvent, PinnedBlock>;

// PyTorch's caching by sizes and its statistics, over ordinary memory.
class PinnedPool final : public CachingPool {
 public:
  std::pair<void*, void*> allocate(std::size_t size_bytes) override {
    const auto allocated = CachingPool::allocate(size_bytes);
    if (allocated.second != nullptr) block_of(allocated.second).users = 1;
    return allocated;
  }

  // By the owner, and by each copy at its end.
  void free(void* context) override {
    if (context != nullptr && --block_of(context).users == 0) CachingPool::free(context);
  }

  std::shared_ptr<void> hold(void* context) {
    ++block_of(context).users;
    return {context, [this](void* held) { free(held); }};
  }

  // What a stream does with the memory are copies, which hold it.
  bool record_event(void* address, void* /*context*/, c10::Stream /*stream*/) override {
    return contains(address);
  }

  bool contains(const void* address) {
    const auto value = reinterpret_cast<std::uintptr_t>(address);
    const std::lock_guard lock(mutex_);
    const auto next = size_bytes_by_address_.upper_bound(value);
    if (next == size_bytes_by_address_.begin()) return false;
    const auto& [start, size_bytes] = *std::prev(next);
    return value - start < size_bytes;
  }

 private:
  static PinnedBlock& block_of(void* context) { return *static_cast<PinnedBlock*>(context); }

  void allocate_host_memory(std::size_t size_bytes, void** address) override {
    *address = c10::alloc_cpu(size_bytes);
    const std::lock_guard lock(mutex_);
    size_bytes_by_address_.emplace(reinterpret_cast<std::uintptr_t>(*address), size_bytes);
  }
  void free_block(PinnedBlock* block) override {
    {
      const std::lock_guard lock(mutex_);
      size_bytes_by_address_.erase(reinterpret_cast<std::uintptr_t>(block->ptr_));
    }
    c10::free_cpu(block->ptr_);
  }
  bool query_event(NoEvent& /*event*/) override { return true; }

  std::mutex mutex_;
  std::map<std::uintptr_t, std::size_t> size_bytes_by_address_;
};

void free_pinned(void* context);

class PinnedAllocator final : public at::CachingHostAllocatorInterface<PinnedPool, &free_pinned> {
 public:
  PinnedPool& pool() { return *impl_; }
};

// Never destroyed: tensors may be dropped after the end of main().
PinnedAllocator& allocator() {
  static auto* instance = new PinnedAllocator;  // NOLINT(cppcoreguidelines-owning-memory)
  return *instance;
}

void free_pinned(void* context) { allocator().free(context); }

REGISTER_HOST_ALLOCATOR(c10::DeviceType::PrivateUse1, &allocator())

}  // namespace

at::HostAllocator* pinned_allocator() { return &allocator(); }

bool is_pinned(const void* address) { return allocator().pool().contains(address); }

std::shared_ptr<void> hold_pinned(const c10::Storage& storage) {
  const c10::DataPtr& pointer = storage.data_ptr();
  if (pointer.get_deleter() != &free_pinned || pointer.get_context() == nullptr) return nullptr;
  return allocator().pool().hold(pointer.get_context());
}

}  // namespace torch_remote::client
