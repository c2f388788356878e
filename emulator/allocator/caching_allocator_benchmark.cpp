// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The time of an allocation and a free, as a training step has them: beside many live blocks, with
// free blocks of many sizes, reused, split and merged.
#include "emulator/allocator/caching_allocator.h"

#include <benchmark/benchmark.h>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace torch_remote::emulator {
namespace {

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
constexpr std::uint64_t kGib = 1024 * kMib;

std::vector<std::uint64_t> sizes(std::size_t count) {
  std::mt19937_64 random(7);
  std::vector<std::uint64_t> sizes(count);
  for (std::uint64_t& size : sizes) {
    const std::uint64_t kind = random() % 10;
    size = 1 + random() % (kind < 5 ? 64 * 1024 : kind < 9 ? 8 * kMib : 64 * kMib);
  }
  return sizes;
}

// The same block again and again.
void BM_SameSize(benchmark::State& state) {
  CachingAllocator allocator(DeviceMemory(80 * kGib, 0));
  EventsDoneAtSynchronize events;
  for (auto _ : state) allocator.free(allocator.allocate(4096, 0, events), events);
}
BENCHMARK(BM_SameSize);

// One of the live blocks goes, and one of another size comes.
void BM_Replace(benchmark::State& state) {
  CachingAllocator allocator(DeviceMemory(1024 * kGib, 0));
  EventsDoneAtSynchronize events;
  const std::vector<std::uint64_t> wanted = sizes(4096);
  std::vector<BlockIndex> live(static_cast<std::size_t>(state.range(0)));
  std::size_t next = 0;
  const auto allocate = [&] {
    return allocator.allocate(wanted[next++ % wanted.size()], 0, events);
  };
  for (BlockIndex& block : live) block = allocate();
  std::size_t victim = 0;
  for (auto _ : state) {
    victim = (victim + 7919) % live.size();
    allocator.free(live[victim], events);
    live[victim] = allocate();
  }
}
BENCHMARK(BM_Replace)->Arg(64)->Arg(512)->Arg(4096);

// As a step does: many allocations, then their frees in the opposite order; the time of a pair.
void BM_Step(benchmark::State& state) {
  CachingAllocator allocator(DeviceMemory(1024 * kGib, 0));
  EventsDoneAtSynchronize events;
  const std::vector<std::uint64_t> wanted = sizes(1000);
  std::vector<BlockIndex> live;
  for (auto _ : state) {
    for (const std::uint64_t size : wanted) live.push_back(allocator.allocate(size, 0, events));
    for (; !live.empty(); live.pop_back()) allocator.free(live.back(), events);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * wanted.size()));
}
BENCHMARK(BM_Step);

// What a comparison of nine GPUs pays for each at the beginning.
void BM_Copy(benchmark::State& state) {
  CachingAllocator allocator(DeviceMemory(1024 * kGib, 0));
  EventsDoneAtSynchronize events;
  for (const std::uint64_t size : sizes(4096)) allocator.allocate(size, 0, events);
  for (auto _ : state) {
    CachingAllocator copy = allocator;
    benchmark::DoNotOptimize(copy);
  }
}
BENCHMARK(BM_Copy);

}  // namespace
}  // namespace torch_remote::emulator
