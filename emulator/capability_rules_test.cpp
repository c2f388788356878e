// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Rules apart from the emulation; python/tests/test_capabilities.py goes through operators.
#include "emulator/capability_rules.h"

#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <utility>

#include "emulator/gpu_model.h"
#include "emulator/workspace/plan_for_test.h"

namespace torch_remote::emulator {
namespace {

using protocol::ErrorKind;
using ::testing::IsEmpty;
using ::testing::Not;
using workspace::contiguous;
using workspace::TestCall;

constexpr protocol::DataType kInt8 = 1;
constexpr protocol::DataType kFloat8 = 24;

protocol::TensorLayout column_major(std::int64_t rows, std::int64_t columns,
                                    protocol::DataType dtype) {
  return {.dtype = dtype, .sizes = {rows, columns}, .strides = {1, rows}};
}

TestCall scaled_product(protocol::TensorLayout right, const char* name = "_scaled_mm") {
  return TestCall(name).tensor(contiguous({32, 64}, kFloat8)).tensor(std::move(right));
}

std::string refusal(const TestCall& call, const char* gpu, const ProgramSettings& settings = {}) {
  const auto found = capability_refusal(call.planned(), gpu_model(gpu), settings);
  return found ? found->message : "";
}

TEST(CapabilityRulesTest, Float8NeedsAdaOrHopper) {
  const TestCall call = scaled_product(column_major(64, 32, kFloat8));
  for (const GpuModel& gpu : gpu_models()) {
    const auto found = capability_refusal(call.planned(), gpu);
    EXPECT_EQ(found.has_value(), !gpu.peak.fp8.has_value()) << gpu.type;
    EXPECT_EQ(found.value_or(CapabilityRefusal{}).kind, ErrorKind::kRuntime);
  }
}

TEST(CapabilityRulesTest, TheNewerProductHasAnotherKindOfError) {
  const TestCall call = scaled_product(column_major(64, 32, kFloat8), "_scaled_mm_v2");
  EXPECT_EQ(capability_refusal(call.planned(), gpu_model("T4"))->kind, ErrorKind::kNotImplemented);
}

TEST(CapabilityRulesTest, WhatIsRefusedFirstIsWhatPyTorchChecksFirst) {
  const TestCall call = scaled_product(contiguous({64, 24}, kFloat8));
  EXPECT_EQ(refusal(call, "T4").substr(0, 32), "torch._scaled_mm is only support");
  EXPECT_EQ(refusal(call, "H100"), "mat2 shape (64x24) must be divisible by 16");
}

TEST(CapabilityRulesTest, OrdersOfFloat8Operands) {
  const TestCall rows = scaled_product(contiguous({64, 32}, kFloat8));
  EXPECT_THAT(refusal(rows, "H100"), Not(IsEmpty()));
  EXPECT_EQ(refusal(rows, "B200"), "");
  // A single column is both.
  EXPECT_EQ(
      refusal(scaled_product({.dtype = kFloat8, .sizes = {64, 16}, .strides = {1, 64}}), "H100"),
      "");
}

TEST(CapabilityRulesTest, Int8ProductsHaveLimits) {
  const auto product = [](std::int64_t rows, std::int64_t width, std::int64_t columns) {
    return refusal(TestCall("_int_mm")
                       .tensor(contiguous({rows, width}, kInt8))
                       .tensor(contiguous({width, columns}, kInt8)),
                   "H100");
  };
  EXPECT_EQ(product(17, 8, 8), "");
  EXPECT_EQ(product(1, 8, 8), "self.size(0) needs to be greater than 16, but got 1");
  EXPECT_EQ(product(17, 0, 8),
            "self.size(1) needs to be greater than 0 and a multiple of 8, but got 0");
}

TEST(CapabilityRulesTest, OtherOperatorsAndOtherErrorsAreNoneOfThem) {
  EXPECT_EQ(refusal(TestCall("mm").tensor(contiguous({3, 3})).tensor(contiguous({3, 3})), "T4"),
            "");
  EXPECT_EQ(refusal(TestCall("_int_mm").tensor(contiguous({3})).tensor(contiguous({3})), "T4"), "");
  EXPECT_EQ(refusal(TestCall("_int_mm"), "T4"), "");
}

TEST(CapabilityRulesTest, AttentionNeedsAKernelThatIsAllowed) {
  const auto heads = contiguous({2, 4, 16, 64}, workspace::kFloat16);
  const TestCall call = TestCall("_scaled_dot_product_fused_attention_overrideable")
                            .tensor(heads)
                            .tensor(heads)
                            .tensor(heads)
                            .none();
  ProgramSettings flash_alone;
  flash_alone.attention = {.flash = true, .efficient = false, .cudnn = false, .math = false};
  EXPECT_EQ(refusal(call, "T4"), "");
  EXPECT_EQ(refusal(call, "T4", flash_alone), "No available kernel. Aborting execution.");
  EXPECT_EQ(refusal(call, "L4", flash_alone), "");
  TestCall masked = TestCall("_scaled_dot_product_fused_attention_overrideable")
                        .tensor(heads)
                        .tensor(heads)
                        .tensor(heads)
                        .tensor(contiguous({16, 16}, workspace::kFloat16));
  EXPECT_EQ(refusal(masked, "L4", flash_alone), "No available kernel. Aborting execution.");
}

TEST(CapabilityRulesTest, EveryRuleNamesItsSource) {
  for (const CapabilityRuleRow& row : capability_rules()) {
    EXPECT_THAT(row.about, Not(IsEmpty())) << row.operator_name;
    EXPECT_TRUE(row.source.starts_with("ATen/")) << row.operator_name;
    EXPECT_TRUE(row.operator_name.starts_with('_')) << "capability_refusal() passes it over";
  }
}

TEST(CapabilityRulesTest, ProductsOfFloatsFollowTheSettings) {
  const auto product = [](protocol::DataType dtype) {
    return TestCall("mm").tensor(contiguous({8, 8}, dtype)).tensor(contiguous({8, 8}, dtype));
  };
  EXPECT_TRUE(follows_settings(product(workspace::kFloat32).planned()));
  EXPECT_FALSE(follows_settings(product(workspace::kFloat16).planned()));
  EXPECT_FALSE(follows_settings(TestCall("add").tensor(contiguous({8})).planned()));
}

}  // namespace
}  // namespace torch_remote::emulator
