// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/own_gpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

#include "emulator/gpu_model.h"
#include "emulator/gpu_model_check.h"

namespace torch_remote {
namespace {

using ::testing::HasSubstr;

GpuValues whole() {
  return {{"name", "NVIDIA RTX 9999"},
          {"compute_capability", "12.0"},
          {"multiprocessor_count", "170"},
          {"boost_clock_mhz", "2407"},
          {"tdp_w", "575"},
          {"total_memory_bytes", "34144990004"},
          {"l2_cache_bytes", "100663296"},
          {"dram_bandwidth_gb_per_s", "1792"},
          {"host_link.pcie_generation", "5"},
          {"peak.fp32", "104.8"},
          {"peak.fp16", "419"}};
}

std::string error_of(const GpuValues& values, const std::string& name) {
  try {
    own_gpu_model(values);
  } catch (const GpuValueError& error) {
    EXPECT_EQ(error.name(), name);
    return error.what();
  }
  ADD_FAILURE() << "no error about " << name;
  return {};
}

TEST(OwnGpuTest, WhatIsNotGivenIsAsOnTheGpuThatItIsLike) {
  const GpuModel& own = own_gpu_model({{"like", "h100"}, {"type", "mine"}, {"tdp_w", "350"}});
  const GpuModel& like = gpu_model("H100");
  EXPECT_EQ(own.type, "mine");
  EXPECT_EQ(own.name, like.name);
  EXPECT_EQ(own.tdp_w, 350);
  EXPECT_EQ(own.total_memory_bytes, like.total_memory_bytes);
  EXPECT_EQ(own.peak.fp16, like.peak.fp16);
  EXPECT_EQ(own.modal_price_usd_per_s, like.modal_price_usd_per_s);
  EXPECT_EQ(invalid(own), "");
}

TEST(OwnGpuTest, PeaksFollowMultiprocessorsAndClock) {
  const GpuModel& own = own_gpu_model({{"like", "H100"},
                                       {"type", "half"},
                                       {"multiprocessor_count", "66"},
                                       {"boost_clock_mhz", "990"},
                                       {"peak.fp8", "600"}});
  EXPECT_DOUBLE_EQ(*own.peak.fp16, 989.0 / 4);
  EXPECT_DOUBLE_EQ(*own.peak.tf32, 494.5 / 4);
  EXPECT_DOUBLE_EQ(*own.peak.fp64, 34.0 / 4);
  EXPECT_DOUBLE_EQ(*own.peak.fp8, 600);
}

TEST(OwnGpuTest, PeaksOfTensorCoresFollowTheGivenOne) {
  const GpuModel& own = own_gpu_model({{"like", "H100"}, {"type", "slow"}, {"peak.fp16", "494.5"}});
  EXPECT_DOUBLE_EQ(*own.peak.bf16, 494.5);
  EXPECT_DOUBLE_EQ(*own.peak.int8, 989.5);
  EXPECT_DOUBLE_EQ(*own.peak.fp32, 67);
}

TEST(OwnGpuTest, AWholeCardTakesTheRestFromTheNearestArchitecture) {
  const GpuModel& own = own_gpu_model(whole());
  EXPECT_EQ(own.type, "NVIDIA RTX 9999");
  EXPECT_EQ(own.context_memory_bytes, gpu_model("B200").context_memory_bytes);
  EXPECT_EQ(own.max_threads_per_multiprocessor, 1536);
  EXPECT_FALSE(own.host_link.nvlink_gb_per_s);
  EXPECT_EQ(own.modal_price_usd_per_s, 0);
  EXPECT_DOUBLE_EQ(*own.peak.fp8, 838);
  EXPECT_EQ(invalid(own), "");
}

TEST(OwnGpuTest, EveryNeededValueIsAskedFor) {
  for (const auto& [name, text] : whole()) {
    GpuValues values = whole();
    values.erase(name);
    EXPECT_THAT(error_of(values, name), HasSubstr(name + " is missing"));
  }
}

TEST(OwnGpuTest, UnitsComeAndGoWithTheCapability) {
  const GpuModel& newer =
      own_gpu_model({{"like", "A10G"}, {"type", "newer"}, {"compute_capability", "8.9"}});
  EXPECT_DOUBLE_EQ(*newer.peak.fp8, 2 * *newer.peak.fp16);
  const GpuModel& older =
      own_gpu_model({{"like", "A10G"}, {"type", "older"}, {"compute_capability", "7.5"}});
  EXPECT_FALSE(older.peak.bf16);
  EXPECT_FALSE(older.peak.tf32);
  EXPECT_EQ(older.max_threads_per_multiprocessor, 1024);
}

TEST(OwnGpuTest, EqualValuesAreTheSameGpu) {
  const GpuValues values = {{"like", "T4"}, {"type", "same"}};
  EXPECT_EQ(&own_gpu_model(values), &own_gpu_model(values));
}

TEST(OwnGpuTest, AnotherProcessGetsTheSameGpu) {
  const GpuModel& own = own_gpu_model({{"like", "T4"}, {"type", "mine"}, {"tdp_w", "50"}});
  EXPECT_EQ(described_gpu_model(gpu_description(own)), &own);
  EXPECT_EQ(described_gpu_model(gpu_description(gpu_model("L4"))), &gpu_model("L4"));
  EXPECT_EQ(described_gpu_model({{"device", "cpu"}}), nullptr);
  EXPECT_EQ(described_gpu_model({{"emulates", "unheard of"}}), nullptr);
}

TEST(OwnGpuTest, ValuesThatCannotBeAreNamed) {
  EXPECT_THAT(error_of({{"like", "T4"}, {"colour", "green"}}, "colour"),
              HasSubstr("there is no value \"colour\""));
  EXPECT_THAT(error_of({{"like", "T4"}, {"tdp_w", "1e2"}}, "tdp_w"),
              HasSubstr("a whole number of watts from 20 to 5000, not \"1e2\""));
  EXPECT_THAT(error_of({{"like", "T4"}, {"peak.fp16", "nan"}}, "peak.fp16"), HasSubstr("TFLOP/s"));
  EXPECT_THAT(error_of({{"like", "T4"}, {"type", "L4"}}, "type"), HasSubstr("built-in"));
  EXPECT_THAT(error_of({{"like", "T4"}, {"type", "x"}, {"peak.fp16", "none"}}, "peak.fp64"),
              HasSubstr("is missing"));
  EXPECT_THAT(error_of({{"like", "T4"}, {"type", "x"}, {"peak.fp32", "100"}}, "peak.fp32"),
              HasSubstr("peak.fp32 is above peak.fp16"));
}

}  // namespace
}  // namespace torch_remote
