// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A GPU's memory as CUDA's driver gives it out: pages, their addresses, and how many are left. The
// allocator (caching_allocator.h) asks it for segments. Nothing is looked up and nothing is stored
// at the addresses; only their order matters, for older versions of PyTorch prefer low ones.
//
// The order is that of the driver 580 on Linux, as recordings of an H100 and an H200 show it
// (emulator/calibration/measurements, allocator-*): addresses are taken in multiples of 32 MiB,
// from the top downwards, into the highest hole with room. What is left of a multiple goes to
// whoever fits into it, the lowest first. Ranges of more than 32 MiB are given up when they are
// empty.
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

  // As cudaMalloc and cudaFree: nothing where that many bytes aren't left.
  std::optional<std::uint64_t> allocate(std::uint64_t size_bytes);
  void free(std::uint64_t address);

  // Addresses for an expandable segment, the lowest that are free; and memory that comes to lie
  // there.
  std::uint64_t reserve_addresses(std::uint64_t size_bytes);
  void free_addresses(std::uint64_t address);
  bool map(std::uint64_t size_bytes);
  void unmap(std::uint64_t size_bytes);

  // The same memory on another GPU, where something else uses outside_bytes more.
  void become(std::uint64_t total_bytes, std::uint64_t outside_bytes) {
    total_bytes_ = total_bytes;
    used_bytes_ += outside_bytes;
  }
  // Where the next segments come to lie, instead: for a recording whose driver gave memory to
  // others in between. They must not overlap.
  void place_segments(std::vector<std::uint64_t> addresses);

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
  struct Piece {
    std::uint64_t address = 0;
    std::uint64_t size_bytes = 0;
    std::uint64_t end() const { return address + size_bytes; }
  };
  struct Range : Piece {
    std::vector<Piece> taken{};  // by address
  };

  std::uint64_t take_in_a_range(std::uint64_t size_bytes);  // 0 where none has room
  std::uint64_t take_new_range(std::uint64_t size_bytes);
  std::uint64_t take_place(std::uint64_t size_bytes);
  static std::vector<Piece>::iterator first_fit(std::vector<Piece>& taken, std::uint64_t& address,
                                                std::uint64_t size_bytes);

  std::uint64_t total_bytes_;
  std::uint64_t used_bytes_;
  bool is_unlimited_ = false;
  std::vector<Range> ranges_;          // by address
  std::vector<Piece> reserved_;        // for expandable segments, by address
  std::vector<std::uint64_t> places_;  // of the next segments, the last one first
};

}  // namespace torch_remote::emulator
