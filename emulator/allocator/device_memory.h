// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A GPU's memory as CUDA's driver gives it out: pages, their addresses, and how many are left. The
// allocator (caching_allocator.h) asks it for segments. Nothing is looked up and nothing is stored
// at the addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace torch_remote::emulator {

inline constexpr std::uint64_t kDevicePageBytes = std::uint64_t{2} << 20;

class DeviceMemory {
 public:
  // What CUDA says of the GPU: its whole memory, and what of it is used already by contexts, in
  // bytes.
  DeviceMemory(std::uint64_t total_bytes, std::uint64_t used_bytes);

  // As cudaMalloc and cudaFree: nothing where that many bytes aren't left. The lowest address that
  // has room is taken.
  std::optional<std::uint64_t> allocate(std::uint64_t size_bytes);
  void free(std::uint64_t address);

  // Address space for an expandable segment, never given back to others; and memory that comes to
  // lie in it.
  std::uint64_t reserve_addresses(std::uint64_t size_bytes);
  bool map(std::uint64_t size_bytes);
  void unmap(std::uint64_t size_bytes);

  // The same memory on another GPU, where something else uses outside_bytes more.
  void become(std::uint64_t total_bytes, std::uint64_t outside_bytes) {
    total_bytes_ = total_bytes;
    used_bytes_ += outside_bytes;
  }
  // From now on nothing is refused: what a program would need is being found out.
  void become_unlimited() { is_unlimited_ = true; }
  bool is_unlimited() const { return is_unlimited_; }

  std::uint64_t total_bytes() const { return total_bytes_; }
  std::uint64_t used_bytes() const { return used_bytes_; }
  // 0 where more is used than there is, which only unlimited memory lets happen.
  std::uint64_t free_bytes() const {
    return used_bytes_ < total_bytes_ ? total_bytes_ - used_bytes_ : 0;
  }

 private:
  struct Range {
    std::uint64_t address = 0;
    std::uint64_t size_bytes = 0;
  };

  std::uint64_t total_bytes_;
  std::uint64_t used_bytes_;
  bool is_unlimited_ = false;
  std::vector<Range> ranges_;  // taken, by address
  std::uint64_t next_reservation_;
};

}  // namespace torch_remote::emulator
