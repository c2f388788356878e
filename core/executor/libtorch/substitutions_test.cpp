// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Operators that another implementation runs compute what the CPU computes.
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <tuple>

#include "core/executor/libtorch/executor_for_test.h"

namespace torch_remote::executor {
namespace {

TEST_F(LibtorchExecutorTest, ConvolvesAsTheCpuDoes) {
  const at::Tensor input = at::randn({2, 3, 8, 8}), weight = at::randn({4, 3, 3, 3}),
                   bias = at::randn({4});
  const at::Tensor gradient = at::randn({2, 4, 8, 8});
  store(id(1), input), store(id(2), weight), store(id(3), bias), store(id(4), gradient);
  const TensorLayout in = layout({2, 3, 8, 8}), kernel = layout({4, 3, 3, 3}),
                     out = layout({2, 4, 8, 8});
  define("aten::convolution_overrideable", "",
         {tensor(in), tensor(kernel), tensor(layout({4})), integers({1, 1}), integers({1, 1}),
          integers({1, 1}), boolean(false), integers({0, 0}), integer(1)},
         {fresh(out)});
  executor->call(0, Values(id(1), id(2), id(3), id(5)));
  EXPECT_TRUE(
      holds(id(5), at::convolution(input, weight, bias, {1, 1}, {1, 1}, {1, 1}, false, {0, 0}, 1)));

  Argument mask = of_kind(ArgumentKind::kBooleanList);
  mask.integers = {0, 1, 1};
  define("aten::convolution_backward_overrideable", "",
         {tensor(out), tensor(in), tensor(kernel), integers({1, 1}), integers({1, 1}),
          integers({1, 1}), boolean(false), integers({0, 0}), integer(1), mask},
         {nothing(), fresh(kernel), fresh(layout({4}))});
  executor->call(0, Values(id(4), id(1), id(2), id(6), id(7)));
  const auto expected =
      at::convolution_backward(gradient, input, weight, at::OptionalIntArrayRef({4}), {1, 1},
                               {1, 1}, {1, 1}, false, {0, 0}, 1, {false, true, true});
  EXPECT_TRUE(holds(id(6), std::get<1>(expected)));
  EXPECT_TRUE(holds(id(7), std::get<2>(expected)));
}

TEST_F(LibtorchExecutorTest, AttendsAsTheCpuDoes) {
  const at::Tensor query = at::randn({1, 2, 4, 8}), key = at::randn({1, 2, 5, 8}),
                   value = at::randn({1, 2, 5, 8});
  store(id(1), query), store(id(2), key), store(id(3), value);
  const TensorLayout q = layout({1, 2, 4, 8}), k = layout({1, 2, 5, 8}), sums = layout({1, 2, 4});
  define(
      "aten::_scaled_dot_product_fused_attention_overrideable", "",
      {tensor(q), tensor(k), tensor(k), none(), number(0), boolean(false), boolean(false), none()},
      {fresh(q), fresh(sums), nothing(), nothing(), nothing(), nothing(), fresh(layout({}, kInt64)),
       fresh(layout({}, kInt64)), nothing()});
  executor->call(0, Values(id(1), id(2), id(3), id(4), id(5), id(9), id(10)));
  const auto expected =
      at::_scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, false);
  EXPECT_TRUE(holds(id(4), std::get<0>(expected)));
  EXPECT_TRUE(holds(id(5), std::get<1>(expected)));

  Argument mask = of_kind(ArgumentKind::kBooleanList);
  mask.integers = {1, 1, 1, 0};
  define("aten::_scaled_dot_product_fused_attention_overrideable_backward", "",
         {tensor(q), tensor(q), tensor(k), tensor(k), undefined(), mask, tensor(q), tensor(sums),
          undefined(), undefined(), integer(4), integer(5), number(0), boolean(false), undefined(),
          undefined(), none()},
         {fresh(q), fresh(k), fresh(k), nothing()});
  executor->call(0, Values(id(4), id(1), id(2), id(3), id(4), id(5), id(6), id(7), id(8)));
  EXPECT_TRUE(exists(id(8)));
}

}  // namespace
}  // namespace torch_remote::executor
