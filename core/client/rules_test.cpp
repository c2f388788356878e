// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Results whose dtype depends on whose kernels compute them.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <cstdint>
#include <gtest/gtest.h>
#include <vector>

#include "core/client/rule_functions.h"
#include "core/client/shape_rules.h"

namespace torch_remote::client {
namespace {

using c10::ScalarType;

std::vector<ScalarType> dtypes_of_layer_norm(ScalarType input, ScalarType weight, Kernels kernels) {
  const std::vector<c10::IValue> arguments{at::empty({2, 3}, input), std::vector<std::int64_t>{3},
                                           at::empty({3}, weight), at::empty({3}, weight), 1e-5};
  ClientPlan plan;
  plan.kernels = kernels;
  EXPECT_TRUE(rules::layer_norm(arguments, plan));
  std::vector<ScalarType> dtypes;
  for (const PlannedTensor& tensor : plan.tensors) dtypes.push_back(tensor.dtype);
  return dtypes;
}

TEST(RulesTest, StatisticsOfNormalizationsAreWideOnAccelerators) {
  const auto dtypes = [](ScalarType output, ScalarType statistics) {
    return std::vector{output, statistics, statistics};
  };
  constexpr ScalarType kHalf = ScalarType::BFloat16, kFloat = ScalarType::Float;
  EXPECT_EQ(dtypes_of_layer_norm(kHalf, kHalf, Kernels::kCpu), dtypes(kHalf, kHalf));
  EXPECT_EQ(dtypes_of_layer_norm(kHalf, kFloat, Kernels::kCpu), dtypes(kHalf, kFloat));
  EXPECT_EQ(dtypes_of_layer_norm(kHalf, kHalf, Kernels::kAccelerator), dtypes(kHalf, kFloat));
  EXPECT_EQ(dtypes_of_layer_norm(kFloat, kFloat, Kernels::kAccelerator), dtypes(kFloat, kFloat));
}

std::vector<std::int64_t> sizes_of_statistics(bool training, Kernels kernels) {
  const at::Tensor channels = at::empty({3});
  const std::vector<c10::IValue> arguments{at::empty({2, 3}), channels, channels, channels,
                                           channels,          training, 0.1,      1e-5};
  ClientPlan plan;
  plan.kernels = kernels;
  EXPECT_TRUE(rules::batch_norm(arguments, plan));
  return {plan.tensors.at(1).sizes.begin(), plan.tensors.at(1).sizes.end()};
}

TEST(RulesTest, CpuLeavesOutStatisticsWithoutTraining) {
  const std::vector<std::int64_t> of_channels{3}, none{0};
  EXPECT_EQ(sizes_of_statistics(/*training=*/true, Kernels::kCpu), of_channels);
  EXPECT_EQ(sizes_of_statistics(/*training=*/false, Kernels::kCpu), none);
  EXPECT_EQ(sizes_of_statistics(/*training=*/true, Kernels::kAccelerator), of_channels);
  EXPECT_EQ(sizes_of_statistics(/*training=*/false, Kernels::kAccelerator), of_channels);
}

TEST(RulesTest, OnlyCpuKeepsTheBufferOfLogSigmoid) {
  const ShapeRule rule = find_shape_rule("aten::log_sigmoid_forward", "");
  ASSERT_NE(rule, nullptr);
  const std::vector<c10::IValue> arguments{at::empty({2, 3})};
  ClientPlan on_cpu;
  ASSERT_TRUE(rule(arguments, on_cpu));
  EXPECT_EQ(on_cpu.tensors.at(1).sizes.size(), 2u);
  ClientPlan plan;
  plan.kernels = Kernels::kAccelerator;
  ASSERT_TRUE(rule(arguments, plan));
  EXPECT_EQ(plan.tensors.at(0).sizes.size(), 2u);
  EXPECT_EQ(plan.tensors.at(1).sizes.at(0), 0);
}

}  // namespace
}  // namespace torch_remote::client
