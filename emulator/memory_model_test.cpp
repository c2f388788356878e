// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Tests the memory model: rounding, the border of the capacity, statistics, and the exact text of
// the out-of-memory error.
#include "emulator/memory_model.h"

#include <cstdint>
#include <deque>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

#include "emulator/gpu_model.h"

namespace torch_remote {
namespace {

constexpr std::uint64_t kMib = 1024 * 1024;
constexpr std::uint64_t kGib = 1024 * kMib;

constexpr std::string_view kAdvice =
    " is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try "
    "setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See "
    "documentation for Memory Management  "
    "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)";

// A GPU on which allocations can use that many bytes.
MemoryModel model_with_capacity(std::uint64_t capacity_bytes) {
  GpuModel model = gpu_model("T4");
  model.total_memory_bytes = capacity_bytes + model.context_memory_bytes;
  return MemoryModel(model);
}

OutOfMemoryReport failed_allocation(MemoryModel& memory, std::uint64_t size_bytes) {
  try {
    memory.allocate(size_bytes);
  } catch (const OutOfMemory& error) {
    return error.report();
  }
  ADD_FAILURE() << size_bytes << " bytes were allocated";
  return {};
}

std::string failure_text(MemoryModel& memory, std::uint64_t size_bytes) {
  try {
    memory.allocate(size_bytes);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "no error";
}

void expect_equal(const MemoryStat& left, const MemoryStat& right) {
  EXPECT_EQ(left.current, right.current);
  EXPECT_EQ(left.peak, right.peak);
  EXPECT_EQ(left.allocated, right.allocated);
  EXPECT_EQ(left.freed, right.freed);
}

TEST(RoundedSize, IsTheNextMultipleOf512) {
  static_assert(rounded_size_bytes(0) == 0);
  static_assert(rounded_size_bytes(1) == 512);
  static_assert(rounded_size_bytes(511) == 512);
  static_assert(rounded_size_bytes(512) == 512);
  static_assert(rounded_size_bytes(513) == 1024);
  static_assert(rounded_size_bytes(kMemoryRequestEndBytes - 1) == kMemoryRequestEndBytes);
}

TEST(SegmentSize, FollowsTheAllocatorsClasses) {
  EXPECT_EQ(segment_size_bytes(512), 2 * kMib);
  EXPECT_EQ(segment_size_bytes(kMib), 2 * kMib);
  EXPECT_EQ(segment_size_bytes(kMib + 512), 20 * kMib);
  EXPECT_EQ(segment_size_bytes(10 * kMib - 512), 20 * kMib);
  EXPECT_EQ(segment_size_bytes(10 * kMib), 10 * kMib);
  EXPECT_EQ(segment_size_bytes(10 * kMib + 512), 12 * kMib);
  EXPECT_EQ(segment_size_bytes(11 * kMib), 12 * kMib);
}

TEST(FormatSize, IsPyTorchs) {
  EXPECT_EQ(format_size(0), "0 bytes");
  EXPECT_EQ(format_size(1024), "1024 bytes");
  EXPECT_EQ(format_size(1025), "1.00 KiB");
  EXPECT_EQ(format_size(1536), "1.50 KiB");
  EXPECT_EQ(format_size(kMib), "1024.00 KiB");
  EXPECT_EQ(format_size(kMib + 1), "1.00 MiB");
  EXPECT_EQ(format_size(20 * kMib), "20.00 MiB");
  EXPECT_EQ(format_size(kGib), "1024.00 MiB");
  EXPECT_EQ(format_size(kGib + 1), "1.00 GiB");
  EXPECT_EQ(format_size(180'000'000'000), "167.64 GiB");
}

TEST(MemoryModel, TakesTheContextOffTheTotal) {
  for (const GpuModel& gpu : gpu_models()) {
    const MemoryModel memory(gpu);
    EXPECT_EQ(memory.total_bytes(), gpu.total_memory_bytes);
    EXPECT_EQ(memory.capacity_bytes(), gpu.total_memory_bytes - gpu.context_memory_bytes);
    EXPECT_EQ(memory.free_bytes(), memory.capacity_bytes());
  }
}

TEST(MemoryModel, CountsRoundedAndRequestedBytes) {
  MemoryModel memory = model_with_capacity(kGib);
  memory.allocate(1);
  memory.allocate(512);
  memory.allocate(513);
  EXPECT_EQ(memory.stats().allocation_count.current, 3u);
  EXPECT_EQ(memory.stats().allocated_bytes.current, 2048u);
  EXPECT_EQ(memory.stats().requested_bytes.current, 1026u);
  memory.free(513);
  EXPECT_EQ(memory.stats().allocation_count.current, 2u);
  EXPECT_EQ(memory.stats().allocated_bytes.current, 1024u);
  EXPECT_EQ(memory.stats().requested_bytes.current, 513u);
  EXPECT_EQ(memory.stats().allocated_bytes.allocated, 2048u);
  EXPECT_EQ(memory.stats().allocated_bytes.freed, 1024u);
  EXPECT_EQ(memory.free_bytes(), kGib - 1024);
}

TEST(MemoryModel, EmptyRequestsTakeNothingEvenWhenFull) {
  MemoryModel memory = model_with_capacity(kGib);
  memory.allocate(kGib);
  memory.allocate(0);
  memory.free(0);
  EXPECT_EQ(memory.stats().allocation_count.current, 1u);
  EXPECT_EQ(memory.stats().allocation_count.allocated, 1u);
  EXPECT_EQ(memory.stats().allocation_count.freed, 0u);
  EXPECT_EQ(memory.stats().out_of_memory_count, 0u);
}

TEST(MemoryModel, AnExactFitSucceedsAndOneByteMoreDoesNot) {
  MemoryModel exact = model_with_capacity(kGib);
  exact.allocate(kGib);
  EXPECT_EQ(exact.free_bytes(), 0u);
  EXPECT_THROW(exact.allocate(1), OutOfMemory);
  exact.free(kGib);
  exact.allocate(kGib);

  MemoryModel over = model_with_capacity(kGib);
  EXPECT_THROW(over.allocate(kGib + 1), OutOfMemory);
  over.allocate(kGib - 512);
  over.allocate(512);
  EXPECT_EQ(over.free_bytes(), 0u);
}

TEST(MemoryModel, ARestBelowOneBlockCanNotBeAllocated) {
  MemoryModel memory = model_with_capacity(kGib + 511);
  memory.allocate(kGib);
  EXPECT_EQ(memory.free_bytes(), 511u);
  EXPECT_THROW(memory.allocate(1), OutOfMemory);
}

TEST(MemoryModel, AFailureChangesNothingButItsCount) {
  MemoryModel memory = model_with_capacity(kGib);
  memory.allocate(700 * kMib);
  memory.allocate(100);
  memory.free(100);
  const MemoryStats before = memory.stats();
  const std::uint64_t free_before = memory.free_bytes();
  for (const std::uint64_t size : {324 * kMib + 1, 2 * kGib, kMemoryRequestEndBytes - 1})
    EXPECT_THROW(memory.allocate(size), OutOfMemory);
  expect_equal(memory.stats().allocation_count, before.allocation_count);
  expect_equal(memory.stats().allocated_bytes, before.allocated_bytes);
  expect_equal(memory.stats().requested_bytes, before.requested_bytes);
  EXPECT_EQ(memory.free_bytes(), free_before);
  EXPECT_EQ(memory.stats().out_of_memory_count, 3u);
  memory.allocate(324 * kMib);
  EXPECT_EQ(memory.free_bytes(), 0u);
}

TEST(MemoryModel, KeepsPeaksUntilTheyAreReset) {
  MemoryModel memory = model_with_capacity(kGib);
  memory.allocate(600);
  memory.allocate(4096);
  memory.free(4096);
  EXPECT_EQ(memory.stats().allocated_bytes.peak, 5120u);
  EXPECT_EQ(memory.stats().requested_bytes.peak, 4696u);
  EXPECT_EQ(memory.stats().allocation_count.peak, 2u);
  memory.reset_peak();
  EXPECT_EQ(memory.stats().allocated_bytes.peak, 1024u);
  EXPECT_EQ(memory.stats().requested_bytes.peak, 600u);
  EXPECT_EQ(memory.stats().allocation_count.peak, 1u);
  memory.allocate(512);
  EXPECT_EQ(memory.stats().allocated_bytes.peak, 1536u);
}

TEST(MemoryModel, ResetsSumsApartFromPeaks) {
  MemoryModel memory = model_with_capacity(kGib);
  memory.allocate(512);
  memory.allocate(512);
  memory.free(512);
  EXPECT_THROW(memory.allocate(kGib), OutOfMemory);
  memory.reset_accumulated();
  EXPECT_EQ(memory.stats().allocated_bytes.allocated, 0u);
  EXPECT_EQ(memory.stats().allocated_bytes.freed, 0u);
  EXPECT_EQ(memory.stats().allocated_bytes.current, 512u);
  EXPECT_EQ(memory.stats().allocated_bytes.peak, 1024u);
  EXPECT_EQ(memory.stats().out_of_memory_count, 0u);
}

TEST(MemoryModel, AgreesWithASimpleCountOverRandomPrograms) {
  std::mt19937_64 random(20261);
  MemoryModel memory = model_with_capacity(64 * kMib);
  std::deque<std::uint64_t> live;
  std::uint64_t expected_bytes = 0;
  std::uint64_t expected_failures = 0;
  for (int step = 0; step < 100'000; ++step) {
    if (!live.empty() && random() % 5 < 2) {
      const std::uint64_t size = live.front();
      live.pop_front();
      memory.free(size);
      expected_bytes -= (size + 511) / 512 * 512;
    } else {
      const std::uint64_t size = random() % (kMib << (random() % 3));
      const std::uint64_t rounded = (size + 511) / 512 * 512;
      if (expected_bytes + rounded > 64 * kMib) {
        EXPECT_THROW(memory.allocate(size), OutOfMemory);
        ++expected_failures;
      } else {
        memory.allocate(size);
        live.push_back(size);
        expected_bytes += rounded;
      }
    }
    ASSERT_EQ(memory.stats().allocated_bytes.current, expected_bytes);
  }
  EXPECT_GT(expected_failures, 100u);
  EXPECT_EQ(memory.stats().out_of_memory_count, expected_failures);
  for (const std::uint64_t size : live) memory.free(size);
  EXPECT_EQ(memory.free_bytes(), memory.capacity_bytes());
  EXPECT_EQ(memory.stats().allocation_count.allocated, memory.stats().allocation_count.freed);
}

TEST(OutOfMemory, HasPyTorchsTextAndItsFigures) {
  MemoryModel memory(gpu_model("T4"), 1);
  memory.allocate(14 * kGib);
  EXPECT_EQ(failure_text(memory, 2 * kGib),
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has a total capacity of 14.57 "
            "GiB of which 431.69 MiB is free. Including non-PyTorch memory, this process has 14.15 "
            "GiB memory in use. Of the allocated memory 14.00 GiB is allocated by PyTorch, and 0 "
            "bytes" +
                std::string(kAdvice));
  const OutOfMemoryReport report = failed_allocation(memory, 450 * kMib + 1);
  EXPECT_EQ(report.device_index, 1);
  EXPECT_EQ(report.requested_bytes, 450 * kMib + 1);
  EXPECT_EQ(report.segment_bytes, 452 * kMib);
  EXPECT_EQ(report.total_bytes, gpu_model("T4").total_memory_bytes);
  EXPECT_EQ(report.free_bytes, memory.free_bytes());
  EXPECT_EQ(report.free_bytes + report.in_use_bytes, report.total_bytes);
  EXPECT_EQ(report.allocated_bytes, 14 * kGib);
  EXPECT_EQ(report.reserved_unallocated_bytes, 0u);
}

TEST(OutOfMemory, NamesTheSegmentThatPyTorchAsksTheDriverFor) {
  MemoryModel memory = model_with_capacity(kGib);
  memory.allocate(kGib - 512);
  EXPECT_EQ(failure_text(memory, 3 * kMib).substr(0, 48),
            "CUDA out of memory. Tried to allocate 20.00 MiB.");
  EXPECT_EQ(failure_text(memory, 513).substr(0, 47),
            "CUDA out of memory. Tried to allocate 2.00 MiB.");
  EXPECT_EQ(failed_allocation(memory, 513).free_bytes, 512u);
}

TEST(OutOfMemory, RefusesRequestsOfAnExabyteAsPyTorchDoes) {
  MemoryModel memory(gpu_model("B200"));
  constexpr std::string_view expected =
      "CUDA out of memory. Tried to allocate more than 1EB memory.";
  EXPECT_EQ(failure_text(memory, kMemoryRequestEndBytes), expected);
  EXPECT_EQ(failure_text(memory, std::numeric_limits<std::uint64_t>::max()), expected);
  EXPECT_EQ(memory.stats().out_of_memory_count, 0u);
  EXPECT_EQ(failure_text(memory, kMemoryRequestEndBytes - 1).substr(0, 55),
            "CUDA out of memory. Tried to allocate 1073741824.00 GiB");
  EXPECT_EQ(memory.stats().out_of_memory_count, 1u);
}

// Two runs on a real B200 that github.com/stas00/ml-engineering reports (mem-oom): the third and
// the fourth large tensor are the last that fit.
TEST(OutOfMemory, ComesWhereItCameOnARealB200) {
  MemoryModel three(gpu_model("B200"));
  for (int i = 0; i < 3; ++i) three.allocate(60'000'000'000);
  const std::string third = failure_text(three, 60'000'000'000);
  EXPECT_NE(third.find("Tried to allocate 55.88 GiB."), std::string::npos) << third;
  EXPECT_NE(third.find("allocated memory 167.64 GiB is allocated"), std::string::npos) << third;

  MemoryModel four(gpu_model("B200"));
  four.allocate(4);
  for (int i = 0; i < 4; ++i) four.allocate(40'000'000'000);
  const std::string fourth = failure_text(four, 40'000'000'000);
  EXPECT_NE(fourth.find("allocated memory 149.01 GiB is allocated"), std::string::npos) << fourth;
}

#ifndef NDEBUG
TEST(MemoryModelDeathTest, FreeingMoreThanWasAllocatedIsABug) {
  MemoryModel memory = model_with_capacity(kGib);
  memory.allocate(512);
  EXPECT_DEATH(memory.free(1024), "more was freed than allocated");
}
#endif

}  // namespace
}  // namespace torch_remote
