// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The rare parts of the memory model: resets, and the text of an out-of-memory error. Counting
// itself is inline in memory_model.h.
#include "emulator/memory_model.h"

#include <cassert>
#include <cstdint>
#include <ios>
#include <locale>
#include <sstream>
#include <stdexcept>
#include <string>

#include "emulator/gpu_model.h"

namespace torch_remote {
namespace {

constexpr std::uint64_t kKib = 1024;
constexpr std::uint64_t kMib = 1024 * kKib;
constexpr std::uint64_t kGib = 1024 * kMib;

// c10/cuda/CUDACachingAllocator.cpp: kSmallSize, kSmallBuffer, kMinLargeAlloc, kLargeBuffer and
// kRoundLarge.
constexpr std::uint64_t kSmallRequestMaxBytes = kMib;
constexpr std::uint64_t kSmallSegmentBytes = 2 * kMib;
constexpr std::uint64_t kOwnSegmentRequestMinBytes = 10 * kMib;
constexpr std::uint64_t kSharedSegmentBytes = 20 * kMib;
constexpr std::uint64_t kOwnSegmentMultipleBytes = 2 * kMib;

template <typename Operation>
void for_each_stat(MemoryStats& stats, Operation operation) {
  operation(stats.allocation_count);
  operation(stats.allocated_bytes);
  operation(stats.requested_bytes);
}

}  // namespace

std::uint64_t segment_size_bytes(std::uint64_t size_bytes) {
  if (size_bytes <= kSmallRequestMaxBytes) return kSmallSegmentBytes;
  if (size_bytes < kOwnSegmentRequestMinBytes) return kSharedSegmentBytes;
  return (size_bytes + kOwnSegmentMultipleBytes - 1) / kOwnSegmentMultipleBytes *
         kOwnSegmentMultipleBytes;
}

std::string format_size(std::uint64_t size_bytes) {
  if (size_bytes <= kKib) return std::to_string(size_bytes) + " bytes";
  const bool is_kib = size_bytes <= kMib;
  const bool is_mib = !is_kib && size_bytes <= kGib;
  const std::uint64_t unit_bytes = is_kib ? kKib : is_mib ? kMib : kGib;
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text.precision(2);
  text << std::fixed << static_cast<double>(size_bytes) / static_cast<double>(unit_bytes)
       << (is_kib   ? " KiB"
           : is_mib ? " MiB"
                    : " GiB");
  return text.str();
}

std::string out_of_memory_text(const OutOfMemoryReport& report) {
  // Two spaces before "See" and before the address, as PyTorch has them: programs compare texts.
  return "CUDA out of memory. Tried to allocate " + format_size(report.segment_bytes) + ". GPU " +
         std::to_string(report.device_index) + " has a total capacity of " +
         format_size(report.total_bytes) + " of which " + format_size(report.free_bytes) +
         " is free. Including non-PyTorch memory, this process has " +
         format_size(report.in_use_bytes) + " memory in use. Of the allocated memory " +
         format_size(report.allocated_bytes) + " is allocated by PyTorch, and " +
         format_size(report.reserved_unallocated_bytes) +
         " is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try "
         "setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See "
         "documentation for Memory Management  "
         "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)";
}

OutOfMemory::OutOfMemory(const OutOfMemoryReport& report)
    : OutOfMemory(report, out_of_memory_text(report)) {}

OutOfMemory::OutOfMemory(const OutOfMemoryReport& report, const std::string& text)
    : std::runtime_error(text), report_(report) {}

MemoryModel::MemoryModel(const GpuModel& model, std::int32_t device_index)
    : total_bytes_(model.total_memory_bytes),
      capacity_bytes_(usable_memory_bytes(model)),
      device_index_(device_index) {
  assert(model.context_memory_bytes <= model.total_memory_bytes);
}

void MemoryModel::reset_peak() {
  for_each_stat(stats_, [](MemoryStat& stat) { stat.peak = stat.current; });
}

void MemoryModel::reset_accumulated() {
  for_each_stat(stats_, [](MemoryStat& stat) { stat.allocated = stat.freed = 0; });
  stats_.out_of_memory_count = 0;
}

void MemoryModel::throw_request_too_large(std::uint64_t size_bytes) const {
  // PyTorch refuses such a request before its allocator sees it, and doesn't count it.
  throw OutOfMemory(report(size_bytes),
                    "CUDA out of memory. Tried to allocate more than 1EB memory.");
}

void MemoryModel::throw_out_of_memory(std::uint64_t size_bytes) {
  ++stats_.out_of_memory_count;
  throw OutOfMemory(report(size_bytes));
}

OutOfMemoryReport MemoryModel::report(std::uint64_t size_bytes) const {
  const bool is_countable = size_bytes < kMemoryRequestEndBytes;
  return {
      .device_index = device_index_,
      .requested_bytes = size_bytes,
      .segment_bytes =
          is_countable ? segment_size_bytes(rounded_size_bytes(size_bytes)) : size_bytes,
      .total_bytes = total_bytes_,
      .free_bytes = free_bytes(),
      .in_use_bytes = total_bytes_ - free_bytes(),
      .allocated_bytes = stats_.allocated_bytes.current,
      .reserved_unallocated_bytes = 0,
  };
}

}  // namespace torch_remote
