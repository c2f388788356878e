// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/operator_time.h"

#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "emulator/time/launch_costs.h"
#include "emulator/time/operator_arguments.h"
#include "emulator/time/operator_class.h"

namespace torch_remote::emulator {
namespace {

using protocol::Argument;
using protocol::ArgumentKind;
using protocol::Output;
using protocol::OutputKind;
using protocol::TensorLayout;
using ::testing::DoubleEq;
using ::testing::Gt;
using ::testing::IsEmpty;
using ::testing::Lt;
using ::testing::SizeIs;

TensorLayout contiguous(protocol::DataType dtype, std::vector<std::int64_t> sizes) {
  TensorLayout layout{.dtype = dtype, .sizes = std::move(sizes)};
  layout.strides.resize(layout.sizes.size());
  std::int64_t stride = 1;
  for (std::size_t i = layout.sizes.size(); i-- > 0;) {
    layout.strides[i] = stride;
    stride *= layout.sizes[i];
  }
  return layout;
}

protocol::PlanDefinition plan(std::initializer_list<TensorLayout> arguments,
                              std::initializer_list<TensorLayout> outputs) {
  protocol::PlanDefinition definition;
  for (const TensorLayout& layout : arguments)
    definition.arguments.push_back({.kind = ArgumentKind::kTensor, .layout = layout});
  for (const TensorLayout& layout : outputs)
    definition.outputs.push_back({.kind = OutputKind::kFresh, .layout = layout});
  return definition;
}

double us(std::string_view name, const protocol::PlanDefinition& definition, std::string_view gpu,
          CacheState cache = CacheState::kProgram) {
  return operator_time({name, "", definition}, gpu_model(gpu), {}, cache).gpu_us;
}

protocol::PlanDefinition square_product(std::int64_t n, protocol::DataType dtype) {
  const TensorLayout matrix = contiguous(dtype, {n, n});
  return plan({matrix, matrix}, {matrix});
}

TEST(OperatorTime, ProductsOfMatricesAreAsMeasured) {
  // CUPTI on an H100, emulator/calibration/measurements: 172.7 us and 2936 us.
  EXPECT_NEAR(us("aten::mm", square_product(4096, kBfloat16Type), "H100"), 172.7, 35);
  EXPECT_NEAR(us("aten::mm", square_product(4096, kFloatType), "H100"), 2936, 600);
}

TEST(OperatorTime, ElementwiseOperatorsRunAtTheMemorysRate) {
  const TensorLayout large = contiguous(kFloatType, {1 << 28});
  // Measured: 1055 us on an H100, 736 us on an H200.
  EXPECT_NEAR(us("aten::add", plan({large, large}, {large}), "H100"), 1055, 60);
  EXPECT_NEAR(us("aten::add", plan({large, large}, {large}), "H200"), 736, 50);
}

TEST(OperatorTime, DataInTheCacheIsFaster) {
  const TensorLayout x = contiguous(kFloatType, {1 << 20});
  const protocol::PlanDefinition definition = plan({x, x}, {x});
  EXPECT_THAT(us("aten::add", definition, "H100", CacheState::kRepeated),
              Lt(us("aten::add", definition, "H100", CacheState::kCold)));
}

TEST(OperatorTime, Tf32CountsWhereItIsAllowed) {
  const protocol::PlanDefinition definition = square_product(4096, kFloatType);
  const PrecisionSettings tf32{.allow_tf32_in_products = true};
  const auto time = [&](std::string_view gpu) {
    return operator_time({"aten::mm", "", definition}, gpu_model(gpu), tf32).gpu_us;
  };
  EXPECT_THAT(time("H100"), Lt(us("aten::mm", definition, "H100") / 3));
  // Turing has none.
  EXPECT_THAT(time("T4"), DoubleEq(us("aten::mm", definition, "T4")));
}

TEST(OperatorTime, ViewsRunNothingOnTheGpu) {
  const TensorLayout x = contiguous(kFloatType, {4, 4});
  const protocol::PlanDefinition definition = plan({x}, {x});
  const OperatorTime time = operator_time({"aten::view", "", definition}, gpu_model("L4"));
  EXPECT_THAT(time.gpu_us, DoubleEq(0));
  EXPECT_EQ(time.kernel_count, 0);
  EXPECT_THAT(time.kernels, IsEmpty());
  EXPECT_THAT(time.host_us, Gt(0));
}

TEST(OperatorTime, AnOperatorThatNoTableKnowsIsTimedByItsBytes) {
  const TensorLayout x = contiguous(kFloatType, {1 << 26});
  const protocol::PlanDefinition definition = plan({x}, {x});
  const OperatorTime time =
      operator_time({"mylib::frobnicate", "", definition}, gpu_model("A100-40GB"));
  ASSERT_THAT(time.kernels, SizeIs(1));
  // 512 MiB at 1555 GB/s.
  EXPECT_NEAR(time.gpu_us, 536.9e6 / 1555e3, 100);
}

TEST(OperatorTime, EveryKernelsTimeIsInTheSum) {
  const TensorLayout image = contiguous(kHalfType, {32, 64, 56, 56});
  const TensorLayout weight = contiguous(kHalfType, {64, 64, 3, 3});
  const protocol::PlanDefinition definition = plan({image, weight}, {image});
  const OperatorTime time = operator_time({"aten::convolution", "", definition}, gpu_model("T4"));
  double sum_us = 0;
  int count = 0;
  for (const KernelTime& kernel : time.kernels) {
    EXPECT_THAT(kernel.us, Gt(0));
    EXPECT_FALSE(kernel_class_name(kernel.kernel_class).empty());
    sum_us += kernel.us;
    count += kernel.count;
  }
  EXPECT_THAT(sum_us, DoubleEq(time.gpu_us));
  EXPECT_EQ(count, time.kernel_count);
}

TEST(OperatorTime, TensorsWithoutElementsTakeNoMoreThanALaunch) {
  const protocol::PlanDefinition empty = square_product(0, kFloatType);
  for (const GpuModel& gpu : gpu_models()) {
    EXPECT_THAT(operator_time({"aten::mm", "", empty}, gpu).gpu_us, Lt(10)) << gpu.type;
    EXPECT_THAT(operator_time({"aten::add", "", empty}, gpu).gpu_us, Lt(10)) << gpu.type;
  }
}

TEST(OperatorClass, VariantsShareARow) {
  EXPECT_EQ(operator_class("aten::mm").kind, OperatorKind::kProduct);
  EXPECT_EQ(operator_class("aten::addmm_").kind, OperatorKind::kProduct);
  EXPECT_EQ(operator_class("aten::_foreach_add_").kind, OperatorKind::kForeach);
  EXPECT_EQ(operator_class("mylib::mm").kind, OperatorKind::kProduct);
  EXPECT_EQ(operator_class("aten::__and__").kind, OperatorKind::kElementwise);
}

TEST(LaunchCosts, CopiesAreBoundByTheLink) {
  const LaunchCosts h100 = launch_costs(gpu_model("H100")), t4 = launch_costs(gpu_model("T4"));
  EXPECT_THAT(copy_us(h100.host_to_device_pinned, 1 << 30),
              Lt(copy_us(t4.host_to_device_pinned, 1 << 30) / 3));
  // Measured: 19.9 ms, and 133 ms of unpinned memory.
  EXPECT_NEAR(copy_us(h100.host_to_device_pinned, 1 << 30), 19'870, 3000);
  EXPECT_NEAR(copy_us(h100.host_to_device_pageable, 1 << 30), 133'400, 40'000);
}

}  // namespace
}  // namespace torch_remote::emulator
