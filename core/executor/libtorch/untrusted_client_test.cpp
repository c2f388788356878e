// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the libtorch executor refuses, whatever a client sends.
#include <cstddef>
#include <cstdint>
#include <gtest/gtest.h>
#include <tuple>
#include <vector>

#include "core/executor/libtorch/executor_for_test.h"

namespace torch_remote::executor {
namespace {

TEST_F(LibtorchExecutorTest, RefusesTensorsOutsideOfTheirStorage) {
  define("aten::neg", "", {tensor(layout({2}), 8)}, {fresh(layout({2}))});
  store(id(1), Floats{1, 2, 3});
  executor->call(0, Values(id(1), std::uint64_t{1}, id(2)));
  EXPECT_EQ(floats(id(2), 2), (Floats{-2, -3}));
  for (const std::uint64_t offset : {std::uint64_t{2}, std::uint64_t{1} << 62, ~std::uint64_t{0}}) {
    expect_failure(ErrorKind::kIndex, "beyond",
                   [&] { executor->call(0, Values(id(1), offset, id(3))); });
  }
  EXPECT_FALSE(exists(id(3)));
  std::vector<std::byte> bytes(8);
  expect_failure(ErrorKind::kIndex, "not within", [&] { executor->read(id(1), 5, bytes); });
  expect_failure(ErrorKind::kIndex, "not within",
                 [&] { executor->write(id(1), ~std::uint64_t{0}, bytes); });
}

TEST_F(LibtorchExecutorTest, RefusesUnknownIdsAndIdsTwice) {
  define("aten::neg", "", {tensor(layout({1}))}, {fresh(layout({1}))});
  expect_failure(ErrorKind::kRuntime, "no storage",
                 [&] { executor->call(0, Values(id(1), id(2))); });
  expect_failure(ErrorKind::kRuntime, "no storage", [&] { executor->rename(id(1), id(2)); });
  executor->free(id(1));
  store(id(1), Floats{1});
  EXPECT_THROW(executor->call(0, Values(id(1), id(1))), ProtocolError);
  EXPECT_THROW(executor->allocate(id(1), 4), ProtocolError);
  EXPECT_THROW(executor->call(0, Values(id(1))), ProtocolError);
  EXPECT_THROW(executor->call(1, Values(id(1), id(2))), ProtocolError);
}

TEST_F(LibtorchExecutorTest, RefusesPlansThatDoNotFitTheSchema) {
  const auto plan = [&](std::vector<Argument> arguments, std::vector<Output> outputs) {
    return [this, arguments, outputs] { define("aten::add", "Tensor", arguments, outputs); };
  };
  const Argument one = tensor(layout({1}));
  expect_failure(ErrorKind::kType, "3", plan({one, one}, {fresh(layout({1}))}));
  expect_failure(ErrorKind::kType, "results", plan({one, one, integer(1)}, {}));
  expect_failure(ErrorKind::kType, "alpha", plan({one, one, integers({1})}, {fresh(layout({1}))}));
  expect_failure(ErrorKind::kType, "other",
                 plan({one, integer(1), integer(1)}, {fresh(layout({1}))}));
  EXPECT_THROW(executor->call(0, Values(id(1))), ProtocolError);
}

TEST_F(LibtorchExecutorTest, RefusesOperatorsThatItDoesNotRun) {
  const auto operator_of = [&](const char* name, const char* overload) {
    return [this, name, overload] {
      executor->define_operator(0, hash_here(name, overload), name, overload);
    };
  };
  for (const auto& [name, overload, reason] :
       std::vector<std::tuple<const char*, const char*, const char*>>{
           {"aten::frobnicate", "", "has no operator aten::frobnicate"},
           {"prims::add", "", "no operator"},
           {"add", "", "no operator"},
           {"aten::from_file", "", "denied"},
           {"aten::resize_", "", "sizes or strides"},
           {"aten::set_", "source_Storage", "Storage"},
           {"aten::record_stream", "", "Stream"},
           {"aten::as_strided", "", "view"},
           {"aten::transpose_", "", "sizes or strides"},
           {"aten::_reshape_alias", "", "view"},
           {"aten::alpha_dropout", "", "random"},
           {"aten::_cudnn_rnn", "", "denied"},
           {"aten::_masked_scale", "", "no kernel"}}) {
    expect_failure(ErrorKind::kUnknownOperator, reason, operator_of(name, overload));
  }
  expect_failure(ErrorKind::kUnknownOperator, "differ in operator aten::add.Tensor",
                 [&] { executor->define_operator(0, 42, "aten::add", "Tensor"); });
  expect_failure(ErrorKind::kUnknownOperator, "not defined", [&] { executor->define_plan({}); });
}

}  // namespace
}  // namespace torch_remote::executor
