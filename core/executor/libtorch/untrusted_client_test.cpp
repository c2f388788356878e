// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the libtorch executor refuses, whatever a client sends.
#include <cstddef>
#include <cstdint>
#include <gtest/gtest.h>
#include <string>
#include <tuple>
#include <utility>
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
           {"aten::_cudnn_rnn_flatten_weight", "", "denied"},
           {"aten::_masked_scale", "", "no kernel"}}) {
    expect_failure(ErrorKind::kUnknownOperator, reason, operator_of(name, overload));
  }
  expect_failure(ErrorKind::kUnknownOperator, "differ in operator aten::add.Tensor",
                 [&] { executor->define_operator(0, 42, "aten::add", "Tensor"); });
  expect_failure(ErrorKind::kUnknownOperator, "not defined", [&] { executor->define_plan({}); });
}

// ---- sparse tensors ----

Argument coo(Integers sizes, Argument indices, Argument values, bool is_coalesced = false) {
  const auto rows = static_cast<std::uint8_t>(indices.layout.sizes.at(0));
  return {.kind = ArgumentKind::kSparseTensor,
          .sparse = {.is_coalesced = is_coalesced, .sparse_dimensions = rows, .sizes = sizes},
          .elements = {std::move(indices), std::move(values)}};
}

Argument compressed(protocol::SparseKind kind, Integers sizes, std::vector<Argument> components) {
  return {.kind = ArgumentKind::kSparseTensor,
          .sparse = {.kind = kind, .sparse_dimensions = 2, .sizes = std::move(sizes)},
          .elements = std::move(components)};
}

class UntrustedSparseTest : public LibtorchExecutorTest {
 protected:
  // What the executor says of the tensor as the argument of _to_dense.
  void expect_refusal(ErrorKind kind, const std::string& message, const Argument& sparse,
                      const Values& values) {
    expect_failure(kind, message, [&] {
      describe("aten::_to_dense", "", {sparse, none(), none()}, id(50), values);
    });
    EXPECT_FALSE(exists(id(50)));
  }
  void store_integers(std::uint64_t tensor_id, const Integers& values) { store(tensor_id, values); }

  const Argument two_indices = tensor(layout({2, 2}, kInt64));
  const Argument three = tensor(layout({3}, kInt64)), two = tensor(layout({2}, kInt64));
  const Argument two_values = tensor(layout({2}));
};

TEST_F(UntrustedSparseTest, RefusesIndicesOutsideOfTheSizes) {
  store(id(2), Floats{1, 2});
  const Argument sparse = coo({2, 3}, two_indices, two_values);
  const std::int64_t far = std::int64_t{1} << 40;
  for (const Integers& indices : {Integers{0, 2, 0, 0}, Integers{0, 1, 0, 3},
                                  Integers{0, far, 0, 0}, Integers{-1, 0, 0, 0}}) {
    store_integers(id(1), indices);
    expect_refusal(ErrorKind::kRuntime, "ind", sparse, Values(id(1), id(2)));
    executor->free(id(1));
  }
  store_integers(id(1), {0, 1, 0, 2});
  const auto outputs =
      describe("aten::_to_dense", "", {sparse, none(), none()}, id(3), Values(id(1), id(2)));
  EXPECT_EQ(floats(id(3), 6), (Floats{1, 0, 0, 0, 0, 2}));
}

TEST_F(UntrustedSparseTest, RefusesWhatIsSaidToBeCoalescedAndIsNot) {
  store(id(2), Floats{1, 2});
  for (const Integers& indices : {Integers{1, 0, 0, 0}, Integers{1, 1, 2, 2}}) {
    store_integers(id(1), indices);
    expect_refusal(ErrorKind::kRuntime, "coalesced",
                   coo({2, 3}, two_indices, two_values, /*is_coalesced=*/true),
                   Values(id(1), id(2)));
    executor->free(id(1));
  }
}

TEST_F(UntrustedSparseTest, RefusesComponentsThatDoNotFitEachOther) {
  store_integers(id(1), {0, 1, 0, 1});
  store(id(2), Floats{1, 2});
  const Values values(id(1), id(2));
  const auto expect_no_sparse = [&](const Argument& sparse) {
    expect_refusal(ErrorKind::kValue, "no sparse tensor", sparse, values);
  };
  expect_no_sparse(coo({2, 3}, two_indices, tensor(layout({1}))));
  expect_no_sparse(coo({2, 3}, two_indices, tensor(layout({}))));
  expect_no_sparse(coo({2, 3}, two_indices, tensor(layout({2, 1}))));
  expect_no_sparse(coo({2, 3, 2}, two_indices, two_values));
  expect_no_sparse(coo({2, 3}, tensor(layout({2, 2}, 3)), two_values));
  Argument other_rank = coo({2, 3}, two_indices, two_values);
  other_rank.sparse.sparse_dimensions = 1;
  expect_no_sparse(other_rank);
  expect_refusal(ErrorKind::kRuntime, "no storage", coo({2, 3}, two_indices, two_values),
                 Values(id(1), id(9)));
  expect_refusal(ErrorKind::kIndex, "beyond",
                 coo({2, 3}, tensor(layout({2, 3}, kInt64)), two_values), values);
}

TEST_F(UntrustedSparseTest, RefusesCompressedIndicesThatLeadOutside) {
  using protocol::SparseKind;
  store(id(3), Floats{1, 2});
  const Argument csr = compressed(SparseKind::kCsr, {2, 3}, {three, two, two_values});
  const struct {
    Integers rows, columns;
  } cases[] = {{{0, 1, 3}, {0, 1}},  {{1, 1, 2}, {0, 1}}, {{0, 9, 2}, {0, 1}},
               {{0, -5, 2}, {0, 1}}, {{0, 1, 2}, {0, 3}}, {{0, 1, 2}, {-1, 0}}};
  for (const auto& [rows, columns] : cases) {
    store_integers(id(1), rows);
    store_integers(id(2), columns);
    expect_refusal(ErrorKind::kIndex, "indices of a sparse tensor", csr,
                   Values(id(1), id(2), id(3)));
    executor->free(id(1));
    executor->free(id(2));
  }
  store_integers(id(1), {0, 1, 2});
  store_integers(id(2), {2, 0});
  describe("aten::_to_dense", "", {csr, none(), none()}, id(4), Values(id(1), id(2), id(3)));
  EXPECT_EQ(floats(id(4), 6), (Floats{0, 0, 1, 2, 0, 0}));
}

TEST_F(UntrustedSparseTest, RefusesCompressedComponentsThatDoNotFitEachOther) {
  using protocol::SparseKind;
  store_integers(id(1), {0, 1, 2});
  store_integers(id(2), {0, 1});
  store(id(3), Floats{1, 2, 3, 4});
  const Values values(id(1), id(2), id(3));
  const auto expect_no_sparse = [&](SparseKind kind, Integers sizes,
                                    std::vector<Argument> components) {
    expect_refusal(ErrorKind::kValue, "no sparse tensor",
                   compressed(kind, std::move(sizes), std::move(components)), values);
  };
  const Argument two_int32 = tensor(layout({2}, 3));
  expect_no_sparse(SparseKind::kCsr, {3, 3}, {three, two, two_values});
  expect_no_sparse(SparseKind::kCsc, {2, 3}, {three, two, two_values});
  expect_no_sparse(SparseKind::kCsr, {2, 3}, {three, two, tensor(layout({1}))});
  expect_no_sparse(SparseKind::kCsr, {2, 3}, {three, two, tensor(layout({2, 1}))});
  expect_no_sparse(SparseKind::kCsr, {2, 3}, {three, two_int32, two_values});
  expect_no_sparse(SparseKind::kCsr, {2, 3}, {two_values, two, two_values});
  expect_no_sparse(SparseKind::kCsr, {2, 3}, {three, tensor(layout({1, 2}, kInt64)), two_values});
  expect_no_sparse(SparseKind::kCsr, {2, 3, 4}, {three, two, two_values});
  expect_no_sparse(SparseKind::kBsr, {2, 3}, {three, two, two_values});
  expect_no_sparse(SparseKind::kBsr, {2, 3}, {three, two, tensor(layout({2, 1, 2}))});
  expect_no_sparse(SparseKind::kBsr, {2, 3}, {three, two, tensor(layout({2, 0, 1}))});
}

// Kernels of the compressed layouts read as many elements as there are values, whatever the
// strides.
TEST_F(UntrustedSparseTest, GivesKernelsNoComponentWithOverlaps) {
  store_integers(id(1), {0, 0, 2});
  store_integers(id(2), {0, 1});
  store(id(3), Floats{3});
  TensorLayout expanded = layout({2});
  expanded.strides = {0};
  const Argument csr =
      compressed(protocol::SparseKind::kCsr, {2, 2}, {three, two, tensor(expanded)});
  store(id(4), Floats{1, 2, 3, 4});
  describe("aten::mm", "", {csr, tensor(layout({2, 2}))}, id(5),
           Values(id(1), id(2), id(3), id(4)));
  EXPECT_EQ(floats(id(5), 4), (Floats{0, 0, 12, 18}));
}

TEST_F(UntrustedSparseTest, RefusesWinnersOfAReductionThatAreNone) {
  store_integers(id(1), {0, 1, 2});
  store_integers(id(2), {0, 1});
  store(id(3), Floats{1, 2});
  store(id(4), Floats{1, 2, 3, 4});
  const Argument csr = compressed(protocol::SparseKind::kCsr, {2, 2}, {three, two, two_values});
  const Argument square = tensor(layout({2, 2}));
  const std::vector<Argument> arguments{csr,
                                        square,
                                        square,
                                        {.kind = ArgumentKind::kString, .text = "amax"},
                                        tensor(layout({2, 2}, kInt64)),
                                        {.kind = ArgumentKind::kBooleanList, .integers = {1, 1}}};
  for (const Integers& winners : {Integers{0, 0, 1, 99}, Integers{0, -1, 1, 1}}) {
    store_integers(id(5), winners);
    expect_failure(ErrorKind::kIndex, "arg_out", [&] {
      describe("aten::_sparse_mm_reduce_impl_backward", "", arguments, id(6),
               Values(id(1), id(2), id(3), id(4), id(4), id(5)));
    });
    executor->free(id(5));
  }
}

TEST_F(UntrustedSparseTest, MakesNoSparseTensorsOfUncheckedParts) {
  for (const auto& [name, overload] : std::vector<std::pair<const char*, const char*>>{
           {"aten::_sparse_coo_tensor_unsafe", ""},
           {"aten::_sparse_coo_tensor_with_dims_and_tensors", ""},
           {"aten::_sparse_compressed_tensor_unsafe", ""},
           {"aten::sparse_csr_tensor", "crow_col_value_size"},
           {"aten::_convert_indices_from_csr_to_coo", ""}}) {
    expect_failure(ErrorKind::kUnknownOperator, "denied", [&] {
      executor->define_operator(0, hash_here(name, overload), name, overload);
    });
  }
}

}  // namespace
}  // namespace torch_remote::executor
