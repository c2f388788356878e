// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The settings of PyTorch's CUDA allocator, as PYTORCH_CUDA_ALLOC_CONF and PYTORCH_ALLOC_CONF give
// them: "max_split_size_mb:128,roundup_power2_divisions:[256:1,512:2,>:4]". Values are checked as
// PyTorch checks them, and refused in its words.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>

#include "emulator/allocator/allocator_version.h"

namespace torch_remote::emulator {

// Sizes in bytes. Settings of pinned memory and of threads are checked but have no effect on what
// is counted here.
struct AllocatorSettings {
  static constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();
  // Classes of sizes by powers of two, from below 2 MiB to 32 GiB and above.
  static constexpr std::size_t kRoundupClasses = 16;

  // Segments that requests of more than 1 MiB and less than 10 MiB share.
  std::uint64_t large_segment_size_bytes = std::uint64_t{20} << 20;
  // Blocks of this size or more aren't split.
  std::uint64_t max_split_size_bytes = kUnlimited;
  // What an unsplit block may be larger than the request.
  std::uint64_t max_non_split_rounding_bytes = std::uint64_t{20} << 20;
  // 0 where no garbage is collected.
  double garbage_collection_threshold = 0;
  // Steps between two powers of two, by class; 0 or 1 where sizes are multiples of 512 bytes.
  std::array<std::uint64_t, kRoundupClasses> roundup_power2_divisions{};
  bool expandable_segments = false;
  double per_process_memory_fraction = 1;
  // Refuse what wouldn't fit into the fraction before trying.
  bool throw_on_cudamalloc_oom = false;
  bool release_lock_on_cudamalloc = false;
  bool pinned_use_cuda_host_register = false;
  bool graph_capture_record_stream_reuse = false;
  std::uint64_t pinned_num_register_threads = 1;
  std::string text;  // as it was given
  AllocatorVersion version = AllocatorVersion::kTorch2_14;

  std::uint64_t divisions_of(std::uint64_t size_bytes) const;

  bool operator==(const AllocatorSettings&) const = default;
};

// A value that PyTorch refuses. The kind is that of Python's exception.
class InvalidAllocatorSettings : public std::runtime_error {
 public:
  enum class Kind { kValueError, kRuntimeError, kIndexError };
  InvalidAllocatorSettings(Kind kind, const std::string& text)
      : std::runtime_error(text), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

// Settings changed by the text: what it doesn't name goes back to its default where PyTorch does
// so, else it stays. Throws InvalidAllocatorSettings.
AllocatorSettings with_allocator_settings(AllocatorSettings settings, std::string_view text);
inline AllocatorSettings parse_allocator_settings(
    std::string_view text, AllocatorVersion version = AllocatorVersion::kTorch2_14) {
  AllocatorSettings settings;
  settings.version = version;
  return with_allocator_settings(settings, text);
}

}  // namespace torch_remote::emulator
