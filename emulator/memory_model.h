// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Counts the memory that a program takes on an emulated GPU and says when it is used up, as
// PyTorch's CUDA caching allocator would. The capacity comes from a GpuModel (gpu_model.h); the
// session reports every allocation and free in program order, with sizes, so nothing is looked up.
//
// This model counts rounded sizes against the GPU's whole usable memory. It doesn't yet know
// segments, pools or streams, so what PyTorch caches or loses to fragmentation counts as free here.
//
// A MemoryModel belongs to one device and isn't thread-safe: its owner calls it under a lock. The
// constants are those of c10/cuda/CUDACachingAllocator.cpp.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "emulator/gpu_model.h"

namespace torch_remote {

// Every allocation takes a multiple of this many bytes.
inline constexpr std::uint64_t kMemoryBlockBytes = 512;

// A single request of this size or more is refused without looking at the GPU (2^60 bytes).
inline constexpr std::uint64_t kMemoryRequestEndBytes = std::uint64_t{1} << 60;

// What a request of that many bytes takes: 0 for 0, else the next multiple of 512 bytes. The
// request must be below kMemoryRequestEndBytes.
constexpr std::uint64_t rounded_size_bytes(std::uint64_t size_bytes) {
  return (size_bytes + kMemoryBlockBytes - 1) / kMemoryBlockBytes * kMemoryBlockBytes;
}

// What PyTorch asks the driver for when a request of that (rounded) size finds no free block: 2 MiB
// up to 1 MiB, 20 MiB below 10 MiB, else the next multiple of 2 MiB.
std::uint64_t segment_size_bytes(std::uint64_t size_bytes);

// A size as PyTorch's messages give it: "512 bytes", "1.50 KiB", "20.00 MiB", "14.57 GiB".
std::string format_size(std::uint64_t size_bytes);

// One counter of torch.cuda.memory_stats(): `allocated` and `freed` only ever grow.
struct MemoryStat {
  std::uint64_t current = 0;
  std::uint64_t peak = 0;
  std::uint64_t allocated = 0;
  std::uint64_t freed = 0;

  void increase(std::uint64_t amount) {
    current += amount;
    allocated += amount;
    peak = std::max(peak, current);
  }
  void decrease(std::uint64_t amount) {
    assert(current >= amount && "more was freed than allocated");
    current -= amount;
    freed += amount;
  }
};

struct MemoryStats {
  // Live allocations, a count. Requests of 0 bytes are none.
  MemoryStat allocation_count;
  // Rounded sizes, in bytes.
  MemoryStat allocated_bytes;
  // Sizes as asked for, in bytes.
  MemoryStat requested_bytes;
  std::uint64_t out_of_memory_count = 0;
};

// The figures of a failed request, in bytes.
struct OutOfMemoryReport {
  std::int32_t device_index = 0;
  std::uint64_t requested_bytes = 0;
  std::uint64_t segment_bytes = 0;
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::uint64_t in_use_bytes = 0;
  std::uint64_t allocated_bytes = 0;
  std::uint64_t reserved_unallocated_bytes = 0;
};

// The text that PyTorch raises for these figures on CUDA. Older versions of PyTorch name
// PYTORCH_CUDA_ALLOC_CONF in it instead of PYTORCH_ALLOC_CONF.
std::string out_of_memory_text(const OutOfMemoryReport& report);

// A request that doesn't fit. what() is PyTorch's text. The program may go on after freeing memory.
class OutOfMemory : public std::runtime_error {
 public:
  explicit OutOfMemory(const OutOfMemoryReport& report);
  OutOfMemory(const OutOfMemoryReport& report, const std::string& text);

  const OutOfMemoryReport& report() const { return report_; }

 private:
  OutOfMemoryReport report_;
};

class MemoryModel {
 public:
  // Copies what it needs of the model. The device's index appears in messages only.
  explicit MemoryModel(const GpuModel& model, std::int32_t device_index = 0);

  // Counts an allocation of that many bytes, or throws OutOfMemory and leaves everything but
  // out_of_memory_count as it was. A request of 0 bytes takes nothing and always succeeds.
  void allocate(std::uint64_t size_bytes) {
    if (size_bytes >= kMemoryRequestEndBytes) throw_request_too_large(size_bytes);
    const std::uint64_t rounded_bytes = rounded_size_bytes(size_bytes);
    if (rounded_bytes > free_bytes()) throw_out_of_memory(size_bytes);
    if (size_bytes == 0) return;
    stats_.allocation_count.increase(1);
    stats_.allocated_bytes.increase(rounded_bytes);
    stats_.requested_bytes.increase(size_bytes);
  }

  // Counts the end of an allocation. The size must be the one that was allocated.
  void free(std::uint64_t size_bytes) noexcept {
    if (size_bytes == 0) return;
    stats_.allocation_count.decrease(1);
    stats_.allocated_bytes.decrease(rounded_size_bytes(size_bytes));
    stats_.requested_bytes.decrease(size_bytes);
  }

  // As torch.cuda.reset_peak_memory_stats(): every peak becomes the present value.
  void reset_peak();
  // As torch.cuda.reset_accumulated_memory_stats(): sums and out_of_memory_count start from 0.
  void reset_accumulated();

  const MemoryStats& stats() const { return stats_; }
  // As CUDA reports it, the context included.
  std::uint64_t total_bytes() const { return total_bytes_; }
  // What allocations can use: the total less the context.
  std::uint64_t capacity_bytes() const { return capacity_bytes_; }
  std::uint64_t free_bytes() const { return capacity_bytes_ - stats_.allocated_bytes.current; }

 private:
  [[noreturn]] void throw_request_too_large(std::uint64_t size_bytes) const;
  [[noreturn]] void throw_out_of_memory(std::uint64_t size_bytes);
  OutOfMemoryReport report(std::uint64_t size_bytes) const;

  std::uint64_t total_bytes_;
  std::uint64_t capacity_bytes_;
  std::int32_t device_index_;
  MemoryStats stats_;
};

}  // namespace torch_remote
