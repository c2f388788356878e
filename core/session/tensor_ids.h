// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Tensor ids that are addresses which no process can map. A storage of n bytes owns n consecutive
// addresses, so pointer arithmetic and overlap checks on data pointers stay true, and a host read
// faults at once.
//
//   bit 63      0
//   bit 62      1: with bit 63 clear, non-canonical on x86-64 with 48- and 57-bit addresses
//   bit 60      1 for provisional ids of outputs whose size only the executor knows
//   bits 59-56  device; arm64 ignores bits 63-56 of user addresses, so bit 55 does its work there:
//   bit 55      1: selects the kernel's half of arm64's address space, a fault for a program
//   bits 54-49  arena
//   bits 48-0   byte within the arena
#pragma once

#include <array>
#include <cstdint>

namespace torch_remote::session {

using TensorId = std::uint64_t;

// Hands out ids by moving through an arena; an arena is used again only when every id in it has
// been released, so two live storages never share an address. Commands are executed in order, which
// makes the release's free reach the executor before the id's next allocation. Not thread-safe.
class TensorIds {
 public:
  static constexpr std::uint64_t kAlignmentBytes = 512;  // as CUDA's caching allocator
  static constexpr unsigned kArenaBits = 49;             // 512 TiB
  static constexpr unsigned kArenaCount = 64;

  // arena_size_bytes is smaller in tests only.
  explicit TensorIds(unsigned device,
                     std::uint64_t arena_size_bytes = std::uint64_t{1} << kArenaBits);

  // The first address of size_bytes unused ones; one that is distinct for size 0, too.
  // Throws std::length_error beyond an arena's size or when every arena holds live storages.
  TensorId acquire(std::uint64_t size_bytes);
  void release(TensorId id);

  // The first of 2^20 consecutive provisional ids, which are never used again.
  TensorId acquire_provisional();

  static bool is_tensor_id(std::uint64_t address) { return (address >> 61) == 0b010; }
  static unsigned device_of(TensorId id) { return static_cast<unsigned>(id >> 56) & 0xF; }

 private:
  void enter_free_arena();
  TensorId base() const;

  std::uint64_t device_bits_;
  std::uint64_t arena_size_bytes_;
  std::uint64_t cursor_ = 0;  // next free byte within the arena
  unsigned arena_ = 0;
  std::uint64_t provisional_ = 0;
  std::array<std::uint64_t, kArenaCount> live_{};
};

}  // namespace torch_remote::session
