// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A request that doesn't fit: its figures, and the text that PyTorch raises for them on CUDA.
// Programs match on the text, so it is PyTorch's to the character.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "emulator/allocator/allocator_version.h"

namespace torch_remote::emulator {

// The figures of a failed request, in bytes.
struct OutOfMemoryReport {
  std::int32_t device_index = 0;
  std::uint64_t requested_bytes = 0;
  std::uint64_t segment_bytes = 0;  // what the device was asked for
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::uint64_t in_use_bytes = 0;              // by this process, what isn't PyTorch's included
  std::optional<std::uint64_t> allowed_bytes;  // where a memory fraction was set
  std::uint64_t allocated_bytes = 0;
  std::uint64_t reserved_unallocated_bytes = 0;
  bool has_expandable_segments = false;
};

// A size as PyTorch's messages give it: "512 bytes", "1.50 KiB", "20.00 MiB", "14.57 GiB".
std::string format_size(std::uint64_t size_bytes);

// Versions name another variable and another page of the manual; since 2.14 nobody who has
// expandable segments is advised to try them.
std::string out_of_memory_text(const OutOfMemoryReport& report, AllocatorVersion version);

// what() is PyTorch's text. The program may go on after freeing memory.
class OutOfMemory : public std::runtime_error {
 public:
  OutOfMemory(const OutOfMemoryReport& report, AllocatorVersion version)
      : OutOfMemory(report, out_of_memory_text(report, version)) {}
  OutOfMemory(const OutOfMemoryReport& report, const std::string& text)
      : std::runtime_error(text), report_(report) {}

  const OutOfMemoryReport& report() const { return report_; }

 private:
  OutOfMemoryReport report_;
};

}  // namespace torch_remote::emulator
