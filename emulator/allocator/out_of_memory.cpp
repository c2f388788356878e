// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The text of an out-of-memory error.
#include "emulator/allocator/out_of_memory.h"

#include <cstdint>
#include <ios>
#include <locale>
#include <sstream>
#include <string>

#include "emulator/allocator/allocator_version.h"

namespace torch_remote::emulator {
namespace {

constexpr std::uint64_t kKib = 1024;
constexpr std::uint64_t kMib = 1024 * kKib;
constexpr std::uint64_t kGib = 1024 * kMib;

// Two spaces before "See" and before the address, as PyTorch has them.
std::string advice(const OutOfMemoryReport& report, AllocatorVersion version) {
  if (version == AllocatorVersion::kTorch2_14 && report.has_expandable_segments) return "";
  const bool is_older = version == AllocatorVersion::kBeforeTorch2_11;
  return std::string(" If reserved but unallocated memory is large try setting ") +
         (is_older ? "PYTORCH_ALLOC_CONF" : "PYTORCH_CUDA_ALLOC_CONF") +
         "=expandable_segments:True to avoid fragmentation.  See documentation for Memory "
         "Management  " +
         (is_older ? "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
                   : "(https://docs.pytorch.org/docs/stable/notes/cuda.html"
                     "#optimizing-memory-usage-with-pytorch-cuda-alloc-conf)");
}

}  // namespace

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

std::string out_of_memory_text(const OutOfMemoryReport& report, AllocatorVersion version) {
  return "CUDA out of memory. Tried to allocate " + format_size(report.segment_bytes) + ". GPU " +
         std::to_string(report.device_index) + " has a total capacity of " +
         format_size(report.total_bytes) + " of which " + format_size(report.free_bytes) +
         " is free. Including non-PyTorch memory, this process has " +
         format_size(report.in_use_bytes) + " memory in use. " +
         (report.allowed_bytes ? format_size(*report.allowed_bytes) + " allowed; " : "") +
         "Of the allocated memory " + format_size(report.allocated_bytes) +
         " is allocated by PyTorch, and " + format_size(report.reserved_unallocated_bytes) +
         " is reserved by PyTorch but unallocated." + advice(report, version);
}

}  // namespace torch_remote::emulator
