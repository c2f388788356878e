// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the libtorch executor computes, keeps and says of itself.
#include <ATen/Parallel.h>
#include <cstdint>
#include <gtest/gtest.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "core/executor/libtorch/executor_for_test.h"

namespace torch_remote::executor {
namespace {

TEST_F(LibtorchExecutorTest, Adds) {
  define("aten::add", "Tensor", {tensor(layout({2, 2})), tensor(layout({2, 2})), integer(10)},
         {fresh(layout({2, 2}))});
  store(id(1), Floats{1, 2, 3, 4});
  store(id(2), Floats{1, 1, 2, 2});
  for (std::uint64_t output = 3; output < 6; ++output) {
    executor->call(0, Values(id(1), id(2), id(output)));
    EXPECT_EQ(floats(id(output), 4), (Floats{11, 12, 23, 24}));
  }
  executor->free(id(4));
  EXPECT_FALSE(exists(id(4)));
  EXPECT_TRUE(exists(id(5)));
}

TEST_F(LibtorchExecutorTest, CountsItsStorages) {
  const auto counted = [&] {
    const protocol::Numbers numbers = executor->memory_statistics();
    EXPECT_EQ(numbers.at("allocation.all.current"), numbers.at("active.all.current"));
    EXPECT_EQ(numbers.at("allocated_bytes.all.current"), numbers.at("active_bytes.all.current"));
    return std::pair(numbers.at("active.all.current"), numbers.at("active_bytes.all.current"));
  };
  EXPECT_EQ(counted(), std::pair(std::int64_t{0}, std::int64_t{0}));
  define("aten::neg", "", {tensor(layout({3}))}, {fresh(layout({3}))});
  store(id(1), Floats{1, 2, 3});
  executor->call(0, Values(id(1), id(2)));
  EXPECT_EQ(counted(), std::pair(std::int64_t{2}, std::int64_t{24}));
  executor->resize(id(2), id(3), 100);
  EXPECT_EQ(counted(), std::pair(std::int64_t{2}, std::int64_t{112}));
  executor->rename(id(3), id(4));
  executor->free(id(1));
  EXPECT_EQ(counted(), std::pair(std::int64_t{1}, std::int64_t{100}));
  EXPECT_THROW(executor->call(0, Values(id(1), id(5))), ExecutorError);
  executor->free(id(4));
  EXPECT_EQ(counted(), std::pair(std::int64_t{0}, std::int64_t{0}));
}

TEST_F(LibtorchExecutorTest, TakesVaryingNumbersInPlace) {
  define("aten::add_", "Tensor",
         {written(layout({2})), tensor(layout({2})), of_kind(ArgumentKind::kVaryingDouble)},
         {argument()});
  store(id(1), Floats{1, 2});
  store(id(2), Floats{1, 1});
  executor->call(0, Values(id(1), id(2), 0.5));
  executor->call(0, Values(id(1), id(2), 2.0));
  EXPECT_EQ(floats(id(1), 2), (Floats{3.5, 4.5}));
}

TEST_F(LibtorchExecutorTest, UsesOffsetsAndStrides) {
  TensorLayout transposed = layout({2, 3});
  transposed.strides = {1, 2};
  define("aten::neg", "", {tensor(transposed, 4)}, {fresh(layout({2, 3}))});
  store(id(1), Floats{0, 1, 2, 3, 4, 5, 6, 7});
  executor->call(0, Values(id(1), std::uint32_t{2}, id(2)));
  EXPECT_EQ(floats(id(2), 6), (Floats{-2, -4, -6, -3, -5, -7}));
  executor->call(0, Values(id(1), std::uint32_t{0}, id(3)));
  EXPECT_EQ(floats(id(3), 6), (Floats{0, -2, -4, -1, -3, -5}));
}

TEST_F(LibtorchExecutorTest, TakesListsOfTensors) {
  define("aten::cat", "",
         {list(ArgumentKind::kTensorList, {tensor(layout({1})), tensor(layout({2}))}), integer(0)},
         {fresh(layout({3}))});
  store(id(1), Floats{1});
  store(id(2), Floats{2, 3});
  executor->call(0, Values(id(1), id(2), id(3)));
  EXPECT_EQ(floats(id(3), 3), (Floats{1, 2, 3}));
}

TEST_F(LibtorchExecutorTest, TakesListsOfOptionalTensors) {
  define("aten::index", "Tensor",
         {tensor(layout({2, 3})),
          list(ArgumentKind::kTensorList, {none(), tensor(layout({2}, kInt64))})},
         {fresh(layout({2, 2}))});
  store(id(1), Floats{0, 1, 2, 3, 4, 5});
  store(id(2), Integers{2, 0});
  executor->call(0, Values(id(1), id(2), id(3)));
  EXPECT_EQ(floats(id(3), 4), (Floats{2, 0, 5, 3}));
}

TEST_F(LibtorchExecutorTest, ReturnsListsOfTensors) {
  define("aten::_foreach_add", "ScalarList",
         {list(ArgumentKind::kTensorList, {tensor(layout({1})), tensor(layout({2}))}),
          list(ArgumentKind::kNumberList, {number(0.5), of_kind(ArgumentKind::kVaryingInteger)})},
         {list({fresh(layout({1})), fresh(layout({2}))})});
  store(id(1), Floats{1});
  store(id(2), Floats{2, 3});
  executor->call(0, Values(id(1), id(2), std::int64_t{10}, id(3), id(4)));
  EXPECT_EQ(floats(id(3), 1), (Floats{1.5}));
  EXPECT_EQ(floats(id(4), 2), (Floats{12, 13}));
}

TEST_F(LibtorchExecutorTest, HostScalarsCanBeWrappedNumbers) {
  Argument scalar = of_kind(ArgumentKind::kHostScalar);
  scalar.layout.dtype = 7;  // float64
  scalar.flag = true;
  define("aten::mul", "Tensor", {tensor(layout({2})), scalar}, {fresh(layout({2}))});
  store(id(1), Floats{1, 2});
  executor->call(0, Values(id(1), 1.5, id(2)));
  executor->call(0, Values(id(1), 3.0, id(3)));
  EXPECT_EQ(floats(id(2), 2), (Floats{1.5, 3}));
  EXPECT_EQ(floats(id(3), 2), (Floats{3, 6}));
}

TEST_F(LibtorchExecutorTest, MakesTensorsByFactories) {
  Argument device = of_kind(ArgumentKind::kDevice);
  define("aten::full", "", {integers({2}), number(7), integer(kFloat), none(), device, none()},
         {fresh(layout({2}))});
  executor->call(0, Values(id(1)));
  EXPECT_EQ(floats(id(1), 2), (Floats{7, 7}));
  define("aten::sum", "dim_IntList", {tensor(layout({2})), integers({}), boolean(false), none()},
         {fresh(layout({}))});
  executor->call(0, Values(id(1), id(2)));
  EXPECT_EQ(floats(id(2), 1), (Floats{14}));
}

TEST_F(LibtorchExecutorTest, ReadsConjugates) {
  TensorLayout conjugate = layout({1}, kComplex64);
  conjugate.flags = protocol::kConjugateFlag;
  define("aten::mul", "Tensor", {tensor(conjugate), tensor(layout({1}, kComplex64))},
         {fresh(layout({1}, kComplex64))});
  store(id(1), Floats{1, 2});
  executor->call(0, Values(id(1), id(1), id(2)));
  EXPECT_EQ(floats(id(2), 2), (Floats{5, 0}));
}

TEST_F(LibtorchExecutorTest, ResizesAndRenamesStorages) {
  store(id(1), Floats{1, 2, 3});
  executor->resize(id(1), id(2), 16);
  EXPECT_FALSE(exists(id(1)));
  EXPECT_EQ(floats(id(2), 3), (Floats{1, 2, 3}));
  executor->resize(id(2), id(3), 8);
  executor->rename(id(3), id(4));
  EXPECT_EQ(floats(id(4), 2), (Floats{1, 2}));
  EXPECT_FALSE(exists(id(3)));
  executor->resize(id(4), id(5), 0);
  EXPECT_TRUE(exists(id(5)));
}

TEST(LibtorchExecutorLimitsTest, RefusesStoragesBeyondTheLimit) {
  const auto executor =
      libtorch_executor_factory({.storage_size_bytes_max = 1024})(protocol::Hello{});
  EXPECT_EQ(executor->limits().storage_size_bytes_max, 1024u);
  executor->allocate(1, 1024);
  expect_failure(ErrorKind::kValue, "limit", [&] { executor->allocate(2, 1025); });
}

TEST(LibtorchExecutorThreadsTest, ThreadCountIsTheSessionsAlone) {
  const int before = at::get_num_threads();
  const std::uint32_t other = before == 1 ? 2 : 1;
  std::string described;
  int on_session_thread = 0;
  std::thread([&] {
    const auto executor = libtorch_executor_factory()(protocol::Hello{.thread_count = other});
    described = executor->describe().at("thread_count");
    on_session_thread = at::get_num_threads();
  }).join();
  EXPECT_EQ(described, std::to_string(other));
  EXPECT_EQ(on_session_thread, static_cast<int>(other));
  EXPECT_EQ(at::get_num_threads(), before);
  int on_new_thread = 0;
  std::thread([&] { on_new_thread = at::get_num_threads(); }).join();
  EXPECT_EQ(on_new_thread, before);
  std::thread([&] {
    EXPECT_THROW(libtorch_executor_factory()(protocol::Hello{.thread_count = 1u << 30}),
                 ExecutorError);
  }).join();
}

TEST(LibtorchExecutorDescriptionTest, SaysWhatItIs) {
  const auto executor =
      libtorch_executor_factory({.description = {{"emulates", "T4"}}})(protocol::Hello{});
  const auto description = executor->describe();
  EXPECT_EQ(description.at("executor"), "libtorch");
  EXPECT_EQ(description.at("device"), "cpu");
  EXPECT_EQ(description.at("torch_version"), libtorch_version());
  EXPECT_EQ(description.at("emulates"), "T4");
  EXPECT_THROW(libtorch_executor_factory({.device = "cuda"}), std::invalid_argument);
  EXPECT_THROW(libtorch_executor_factory({.device = "frob"}), std::invalid_argument);
}

}  // namespace
}  // namespace torch_remote::executor
