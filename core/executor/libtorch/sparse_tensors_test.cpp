// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Sparse arguments and results: made of storages, described by their components.
#include <cstdint>
#include <gtest/gtest.h>
#include <utility>
#include <vector>

#include "core/executor/libtorch/executor_for_test.h"

namespace torch_remote::executor {
namespace {

using Kind = DescribedOutput::Kind;
using protocol::SparseKind;

Argument coo(Integers sizes, Argument indices, Argument values) {
  return {.kind = ArgumentKind::kSparseTensor,
          .sparse = {.sparse_dimensions = 1, .sizes = std::move(sizes)},
          .elements = {std::move(indices), std::move(values)}};
}

Argument csr(Integers sizes, Argument rows, Argument columns, Argument values) {
  return {.kind = ArgumentKind::kSparseTensor,
          .sparse = {.kind = SparseKind::kCsr, .sparse_dimensions = 2, .sizes = std::move(sizes)},
          .elements = {std::move(rows), std::move(columns), std::move(values)}};
}

TEST_F(LibtorchExecutorTest, DescribesSparseResultsByTheirComponents) {
  store(id(1), Floats{0, 5, 6, 0});
  auto outputs = describe("aten::_to_sparse", "sparse_dim", {tensor(layout({2, 2})), integer(2)},
                          id(10), Values(id(1)));
  ASSERT_EQ(outputs.size(), 3u);
  EXPECT_EQ(outputs[0].kind, Kind::kSparseTensor);
  EXPECT_EQ(outputs[0].sparse, (protocol::SparseLayout{.kind = SparseKind::kCoo,
                                                       .is_coalesced = true,
                                                       .sparse_dimensions = 2,
                                                       .sizes = {2, 2}}));
  EXPECT_EQ(outputs[1].layout.sizes, (Integers{2, 2}));
  EXPECT_EQ(outputs[2].layout.sizes, (Integers{2}));
  const std::uint64_t second = id(10) + 1;  // the values
  EXPECT_EQ(floats(second, 2), (Floats{5, 6}));

  outputs =
      describe("aten::_to_sparse_csr", "", {tensor(layout({2, 2})), none()}, id(20), Values(id(1)));
  ASSERT_EQ(outputs.size(), 4u);
  EXPECT_EQ(outputs[0].sparse.kind, SparseKind::kCsr);
  EXPECT_EQ(load<std::int64_t>(id(20), 3), (Integers{0, 1, 2}));
  EXPECT_EQ(load<std::int64_t>(id(20) + 1, 2), (Integers{1, 0}));
  EXPECT_EQ(floats(id(20) + 2, 2), (Floats{5, 6}));
}

TEST_F(LibtorchExecutorTest, KeepsTheComponentsThatAnOperatorWritesInto) {
  store(id(1), Integers{1, 0});
  store(id(2), Floats{2, 3});
  const Argument self = coo({2}, written(layout({1, 2}, kInt64)), written(layout({2})));
  const Argument factor{.kind = ArgumentKind::kHostScalar, .flag = true, .layout = {.dtype = 7}};
  const auto outputs =
      describe("aten::mul_", "Tensor", {self, factor}, id(10), Values(id(1), id(2), 4.0));
  ASSERT_EQ(outputs.size(), 3u);
  EXPECT_EQ(outputs[0].kind, Kind::kSparseTensor);
  const bool is_kept = outputs[2].kind == Kind::kKeptComponent;
  EXPECT_EQ(floats(is_kept ? id(2) : id(10) + (outputs[1].kind == Kind::kTensor ? 1 : 0), 2),
            (Floats{8, 12}));
}

TEST_F(LibtorchExecutorTest, DescribesNewComponentsOfAWrittenArgument) {
  store(id(1), Integers{1});
  store(id(2), Floats{2});
  store(id(3), Integers{0});
  store(id(4), Floats{5});
  const Argument self = coo({2}, written(layout({1, 1}, kInt64)), written(layout({1})));
  const Argument other = coo({2}, tensor(layout({1, 1}, kInt64)), tensor(layout({1})));
  const auto outputs = describe("aten::add_", "Tensor", {self, other, integer(1)}, id(10),
                                Values(id(1), id(2), id(3), id(4)));
  ASSERT_EQ(outputs.size(), 3u);
  EXPECT_EQ(outputs[1].layout.sizes, (Integers{1, 2}));
  EXPECT_EQ(load<std::int64_t>(id(10), 2).size(), 2u);
  EXPECT_EQ(floats(id(2), 1), (Floats{2}));  // the old one is as it was
}

// The kernel resizes the component itself; what the client has is another tensor.
TEST_F(LibtorchExecutorTest, ResizedComponentsAreNewOnes) {
  store(id(1), Integers{0, 1, 2});
  store(id(2), Integers{0, 1});
  store(id(3), Floats{2, 3});
  store(id(4), Integers{0, 1, 1});
  store(id(5), Integers{0});
  store(id(6), Floats{7});
  const Argument self =
      csr({2, 2}, written(layout({3}, kInt64)), written(layout({2}, kInt64)), written(layout({2})));
  const Argument other =
      csr({2, 2}, tensor(layout({3}, kInt64)), tensor(layout({1}, kInt64)), tensor(layout({1})));
  const auto outputs = describe("aten::mul_", "Tensor", {self, other}, id(10),
                                Values(id(1), id(2), id(3), id(4), id(5), id(6)));
  ASSERT_EQ(outputs.size(), 4u);
  ASSERT_EQ(outputs[3].kind, Kind::kTensor);
  EXPECT_EQ(outputs[3].layout.sizes, (Integers{1}));
  define("aten::neg", "", {tensor(layout({2}))}, {fresh(layout({2}))});
  executor->call(0, Values(id(3), id(30)));  // still two elements
}

TEST_F(LibtorchExecutorTest, DescribesLazyConjugates) {
  store(id(1), Floats{1, 2, 3, 4});
  const auto outputs = describe(
      "aten::_unsafe_view", "",
      {tensor(
           {.dtype = kComplex64, .flags = protocol::kConjugateFlag, .sizes = {2}, .strides = {1}}),
       integers({2, 1})},
      id(10), Values(id(1)));
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].layout.flags, protocol::kConjugateFlag);
  EXPECT_EQ(floats(id(10), 4), (Floats{1, 2, 3, 4}));
  TensorLayout conjugate = layout({2}, kComplex64);
  conjugate.flags = protocol::kConjugateFlag;
  define("aten::neg", "", {tensor(layout({2}, kComplex64))}, {fresh(conjugate)});
  executor->call(0, Values(id(1), id(11)));
  EXPECT_EQ(floats(id(11), 4), (Floats{-1, 2, -3, 4}));
}

}  // namespace
}  // namespace torch_remote::executor
