// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Tests the settings' text: values, lists, defaults that come back, and PyTorch's words for values
// that it refuses. python/tests/test_allocator_settings.py compares them with the installed
// PyTorch.
#include "emulator/allocator/allocator_settings.h"

#include <cstdint>
#include <gtest/gtest.h>
#include <string>
#include <string_view>

namespace torch_remote::emulator {
namespace {

using Kind = InvalidAllocatorSettings::Kind;

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;

void expect_refused(std::string_view text, Kind kind, std::string_view words) {
  try {
    parse_allocator_settings(text);
    ADD_FAILURE() << text << " was accepted";
  } catch (const InvalidAllocatorSettings& error) {
    EXPECT_EQ(error.what(), words) << text;
    EXPECT_EQ(error.kind(), kind) << text;
  }
}

TEST(AllocatorSettings, ReadsAllOfThem) {
  const AllocatorSettings settings = parse_allocator_settings(
      " max_split_size_mb : 128, garbage_collection_threshold:0.75,expandable_segments:True,"
      "max_non_split_rounding_mb:64,backend:native,per_process_memory_fraction:0.5,"
      "throw_on_cudamalloc_oom:True,pinned_use_background_threads:True");
  EXPECT_EQ(settings.max_split_size_bytes, 128 * kMib);
  EXPECT_EQ(settings.garbage_collection_threshold, 0.75);
  EXPECT_TRUE(settings.expandable_segments);
  EXPECT_EQ(settings.max_non_split_rounding_bytes, 64 * kMib);
  EXPECT_EQ(settings.per_process_memory_fraction, 0.5);
  EXPECT_TRUE(settings.throw_on_cudamalloc_oom);
  EXPECT_EQ(parse_allocator_settings(""), AllocatorSettings{});
}

TEST(AllocatorSettings, HaveDivisionsByClassOfSize) {
  const AllocatorSettings all = parse_allocator_settings("roundup_power2_divisions:4");
  EXPECT_EQ(all.divisions_of(1), 4u);
  EXPECT_EQ(all.divisions_of(1 << 30), 4u);
  const AllocatorSettings some =
      parse_allocator_settings("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]");
  EXPECT_EQ(some.divisions_of(1000), 1u);
  EXPECT_EQ(some.divisions_of(511 * kMib), 1u);
  EXPECT_EQ(some.divisions_of(512 * kMib), 2u);
  EXPECT_EQ(some.divisions_of(1024 * kMib), 4u);
  EXPECT_EQ(some.divisions_of(2048 * kMib), 8u);
  EXPECT_EQ(some.divisions_of(std::uint64_t{1} << 50), 8u);
}

TEST(AllocatorSettings, OfTheDefaultRoundingFollowTheSegmentSize) {
  const AllocatorSettings settings = parse_allocator_settings("large_segment_size_mb:64");
  EXPECT_EQ(settings.large_segment_size_bytes, 64 * kMib);
  EXPECT_EQ(settings.max_non_split_rounding_bytes, 64 * kMib);
  expect_refused("large_segment_size_mb:64,max_split_size_mb:32", Kind::kValueError,
                 "CachingAllocator option max_split_size_mb too small, must be >= 64");
}

TEST(AllocatorSettings, ChangeWhatTheTextNamesAndThreeDefaults) {
  AllocatorSettings settings = parse_allocator_settings(
      "max_split_size_mb:100,garbage_collection_threshold:0.5,expandable_segments:True,"
      "roundup_power2_divisions:2,max_non_split_rounding_mb:77");
  settings = with_allocator_settings(settings, "");
  EXPECT_EQ(settings.max_split_size_bytes, AllocatorSettings::kUnlimited);
  EXPECT_EQ(settings.garbage_collection_threshold, 0);
  EXPECT_EQ(settings.divisions_of(kMib), 0u);
  EXPECT_TRUE(settings.expandable_segments);
  EXPECT_EQ(settings.max_non_split_rounding_bytes, 77 * kMib);
}

TEST(AllocatorSettings, AreRefusedInPyTorchsWords) {
  expect_refused("max_split_size_mb:19", Kind::kValueError,
                 "CachingAllocator option max_split_size_mb too small, must be >= 20");
  expect_refused("max_non_split_rounding_mb:1", Kind::kValueError,
                 "CachingAllocator option max_non_split_rounding_mb too small, must be >= 20");
  expect_refused("large_segment_size_mb:10", Kind::kValueError,
                 "CachingAllocator option large_segment_size_mb must be > 10 MB");
  for (const char* value : {"0", "1", "1.5", "-1"})
    expect_refused(std::string("garbage_collection_threshold:") + value, Kind::kValueError,
                   "garbage_collect_threshold is invalid, set it in (0.0, 1.0)");
  expect_refused("roundup_power2_divisions:3", Kind::kValueError,
                 "For roundups, the divisions has to be power of 2 ");
  expect_refused("roundup_power2_divisions:[3:1]", Kind::kValueError,
                 "For roundups, the intervals have to be power of 2 ");
  expect_refused("roundup_power2_divisions:[4:3]", Kind::kValueError,
                 "For roundups, the divisions has to be power of 2 or 0 to disable roundup ");
  expect_refused("expandable_segments:true", Kind::kValueError,
                 "Expected 'True' or 'False' at index 2 in ConfigTokenizer but got 'true'");
  expect_refused("per_process_memory_fraction:2", Kind::kValueError,
                 "per_process_memory_fraction is invalid, set it in [0.0, 1.0]");
  expect_refused("max_split_size:64", Kind::kValueError,
                 "Unrecognized key 'max_split_size' in CUDA allocator config.");
  expect_refused("backend:other", Kind::kValueError,
                 "Unknown allocator backend, options are native and cudaMallocAsync");
  expect_refused("pinned_num_register_threads:3", Kind::kValueError,
                 "Number of register threads has to be power of 2, got 3");
  expect_refused("pinned_num_register_threads:256", Kind::kValueError,
                 "Number of register threads should be less than or equal to 128, got 256");
  expect_refused("max_split_size_mb:x", Kind::kValueError, "stoull");
  expect_refused("garbage_collection_threshold:x", Kind::kValueError, "stod");
  expect_refused("max_split_size_mb:99999999999999999999999", Kind::kIndexError, "stoull");
  for (const char* text : {"max_split_size_mb", "max_split_size_mb:", "expandable_segments:",
                           "roundup_power2_divisions:[4:2", "roundup_power2_divisions:[4]"})
    expect_refused(text, Kind::kRuntimeError, "Index out of bounds in ConfigTokenizer");
}

}  // namespace
}  // namespace torch_remote::emulator
