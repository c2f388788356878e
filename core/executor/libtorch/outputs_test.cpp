// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What operators return, compared with what plans say, and described.
#include <cstdint>
#include <gtest/gtest.h>

#include "core/executor/libtorch/executor_for_test.h"

namespace torch_remote::executor {
namespace {

TEST_F(LibtorchExecutorTest, CopiesResultsOfOtherStrides) {
  TensorLayout transposed = layout({2, 3});
  transposed.strides = {1, 2};
  define("aten::neg", "", {tensor(layout({2, 3}))}, {fresh(transposed)});
  store(id(1), Floats{0, 1, 2, 3, 4, 5});
  executor->call(0, Values(id(1), id(2)));
  EXPECT_EQ(floats(id(2), 6), (Floats{0, -3, -1, -4, -2, -5}));
}

TEST_F(LibtorchExecutorTest, CopiesResultsThatShareTheirStorage) {
  define("aten::_unsafe_view", "", {tensor(layout({2, 2})), integers({4})}, {fresh(layout({4}))},
         0);
  define("aten::neg_", "", {written(layout({4}))}, {argument()}, 1);
  store(id(1), Floats{1, 2, 3, 4});
  executor->call(0, Values(id(1), id(2)));
  executor->call(1, Values(id(2)));
  EXPECT_EQ(floats(id(2), 4), (Floats{-1, -2, -3, -4}));
  EXPECT_EQ(floats(id(1), 4), (Floats{1, 2, 3, 4}));
  const auto outputs = describe("aten::_unsafe_view", "", {tensor(layout({2, 2})), integers({4})},
                                id(3), Values(id(1)));
  EXPECT_EQ(outputs.at(0).layout, layout({4}));
  executor->call(1, Values(id(3)));
  EXPECT_EQ(floats(id(1), 4), (Floats{1, 2, 3, 4}));
}

// lift() returns its argument itself, though its schema says nothing of that.
TEST_F(LibtorchExecutorTest, CopiesResultsThatAreArguments) {
  define("aten::lift", "", {tensor(layout({2}))}, {fresh(layout({2}))}, 0);
  define("aten::neg_", "", {written(layout({2}))}, {argument()}, 1);
  store(id(1), Floats{1, 2});
  for (std::uint64_t output = 2; output < 5; ++output) executor->call(0, Values(id(1), id(output)));
  executor->call(1, Values(id(3)));
  EXPECT_EQ(floats(id(1), 2), (Floats{1, 2}));
  EXPECT_EQ(floats(id(2), 2), (Floats{1, 2}));
  EXPECT_EQ(floats(id(3), 2), (Floats{-1, -2}));
  describe("aten::lift", "", {tensor(layout({2}))}, id(10), Values(id(1)));
  executor->call(1, Values(id(10)));
  EXPECT_EQ(floats(id(1), 2), (Floats{1, 2}));
}

TEST_F(LibtorchExecutorTest, RefusesResultsOfOtherMetadata) {
  store(id(1), Floats{1, 2});
  define("aten::neg", "", {tensor(layout({2}))}, {fresh(layout({2}, kInt64))});
  expect_failure(ErrorKind::kRuntime, "aten::neg: the plan says that it returns Long of sizes [2]",
                 [&] { executor->call(0, Values(id(1), id(2))); });
  define("aten::neg", "", {tensor(layout({2}))}, {fresh(layout({3}))});
  expect_failure(ErrorKind::kRuntime, "Float of sizes [2]",
                 [&] { executor->call(0, Values(id(1), id(2))); });
  define("aten::_foreach_neg", "", {list(ArgumentKind::kTensorList, {tensor(layout({2}))})},
         {list({})});
  expect_failure(ErrorKind::kRuntime, "list of 0", [&] { executor->call(0, Values(id(1))); });
  EXPECT_FALSE(exists(id(2)));
}

TEST_F(LibtorchExecutorTest, RefusesOutArgumentsOfOtherSizes) {
  define("aten::neg", "out", {tensor(layout({4})), written(layout({2}))}, {argument()});
  store(id(1), Floats{1, 2, 3, 4});
  store(id(2), Floats{0, 0});
  expect_failure(ErrorKind::kRuntime, "the out tensor has sizes [2], the result has [4]",
                 [&] { executor->call(0, Values(id(1), id(2))); });
  define("aten::neg", "out", {tensor(layout({2})), written(layout({2}))}, {argument()});
  executor->call(0, Values(id(1), id(2)));
  EXPECT_EQ(floats(id(2), 2), (Floats{-1, -2}));
}

TEST_F(LibtorchExecutorTest, ReportsKernelErrorsByKindWithoutBacktrace) {
  store(id(1), Floats{1, 2, 3, 4});
  define("aten::mm", "", {tensor(layout({2, 2})), tensor(layout({1, 4}))}, {fresh(layout({2, 4}))});
  expect_failure(ErrorKind::kRuntime, "cannot be multiplied",
                 [&] { executor->call(0, Values(id(1), id(1), id(2))); });
  define("aten::sum", "dim_IntList", {tensor(layout({4})), integers({7}), boolean(false), none()},
         {fresh(layout({}))});
  expect_failure(ErrorKind::kIndex, "Dimension out of range",
                 [&] { executor->call(0, Values(id(1), id(2))); });
  store(id(3), Floats{0, 0, 0, 0});
  define("aten::linalg_inv_ex", "", {tensor(layout({2, 2})), boolean(true)},
         {fresh(layout({2, 2})), fresh(layout({}, 3))});
  expect_failure(ErrorKind::kLinearAlgebra, "singular",
                 [&] { executor->call(0, Values(id(3), id(4), id(5))); });
  expect_failure(ErrorKind::kOutOfMemory, "allocate",
                 [&] { executor->allocate(id(6), std::uint64_t{1} << 47); });
  define("aten::neg", "", {tensor(layout({4}))}, {fresh(layout({4}))});
  executor->call(0, Values(id(1), id(2)));
  EXPECT_EQ(floats(id(2), 4), (Floats{-1, -2, -3, -4}));
}

TEST_F(LibtorchExecutorTest, DescribesResults) {
  store(id(1), Floats{0, 5, 0, 6});
  auto outputs = describe("aten::nonzero", "", {tensor(layout({2, 2}))}, id(10), Values(id(1)));
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].layout.sizes, (Integers{2, 2}));
  EXPECT_EQ(outputs[0].layout.dtype, kInt64);
  EXPECT_EQ(outputs[0].storage_size_bytes, 32u);
  EXPECT_EQ(load<std::int64_t>(id(10), 4), (Integers{0, 1, 1, 1}));  // either way round

  outputs = describe("aten::_unique2", "",
                     {tensor(layout({4})), boolean(true), boolean(false), boolean(true)}, 100,
                     Values(id(1)));
  ASSERT_EQ(outputs.size(), 3u);
  EXPECT_EQ(outputs[0].layout.sizes, (Integers{3}));
  EXPECT_EQ(floats(100, 3), (Floats{0, 5, 6}));
  EXPECT_TRUE(exists(101));
  EXPECT_EQ(load<std::int64_t>(102, 3), (Integers{2, 1, 1}));

  outputs = describe("aten::equal", "", {tensor(layout({4})), tensor(layout({4}))}, 200,
                     Values(id(1), id(1)));
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].kind, DescribedOutput::Kind::kBoolean);
  EXPECT_EQ(outputs[0].integer, 1);
  EXPECT_FALSE(exists(200));

  outputs = describe("aten::_foreach_neg", "",
                     {list(ArgumentKind::kTensorList, {tensor(layout({2})), tensor(layout({4}))})},
                     300, Values(id(1), id(1)));
  ASSERT_EQ(outputs.size(), 4u);
  EXPECT_EQ(outputs[0].kind, DescribedOutput::Kind::kListBegin);
  EXPECT_EQ(outputs[2].layout.sizes, (Integers{4}));
  EXPECT_EQ(outputs[3].kind, DescribedOutput::Kind::kListEnd);
  EXPECT_EQ(floats(301, 4), (Floats{0, -5, 0, -6}));
}

}  // namespace
}  // namespace torch_remote::executor
