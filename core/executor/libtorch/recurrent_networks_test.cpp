// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// cuDNN's recurrent networks on the CPU: PyTorch's values, and refusals of what doesn't fit
// together.
#include <ATen/ops/randn.h>
#include <ATen/ops/rnn_tanh.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <string>
#include <tuple>
#include <vector>

#include "core/executor/libtorch/executor_for_test.h"

namespace torch_remote::executor {
namespace {

constexpr std::int64_t kTanh = 1, kSteps = 3, kBatch = 2, kInputs = 4, kHidden = 5;

// A plain network of one layer without biases, as a client may describe it.
struct Network {
  Integers input = {kSteps, kBatch, kInputs};
  std::int64_t hidden_size = kHidden;
  std::int64_t layers = 1;
  std::int64_t kind = kTanh;
  Integers batch_sizes = {};

  std::vector<Argument> arguments() const {
    return {tensor(layout(input)),
            list(ArgumentKind::kTensorList,
                 {tensor(layout({kHidden, kInputs})), tensor(layout({kHidden, kHidden}))}),
            integer(2),
            undefined(),
            tensor(layout({1, kBatch, kHidden})),
            undefined(),
            integer(kind),
            integer(hidden_size),
            integer(0),
            integer(layers),
            boolean(false),
            number(0),
            boolean(true),
            boolean(false),
            integers(batch_sizes),
            undefined()};
  }
};

class RecurrentNetworksTest : public LibtorchExecutorTest {
 protected:
  RecurrentNetworksTest() {
    store(id(1), input), store(id(2), weights[0]), store(id(3), weights[1]), store(id(4), state);
  }
  void expect_refusal(const std::string& message, const Network& network) {
    expect_failure(ErrorKind::kValue, message, [&] {
      describe("aten::_cudnn_rnn", "", network.arguments(), id(50),
               Values(id(1), id(2), id(3), id(4)));
    });
  }

  at::Tensor input = at::randn({kSteps, kBatch, kInputs});
  std::vector<at::Tensor> weights = {at::randn({kHidden, kInputs}), at::randn({kHidden, kHidden})};
  at::Tensor state = at::randn({1, kBatch, kHidden});
};

TEST_F(RecurrentNetworksTest, ComputesWhatPyTorchDoes) {
  const std::int64_t reserve = 256 + 128;  // 3 * 2 * 5 floats, aligned, behind a head
  define("aten::_cudnn_rnn", "", Network().arguments(),
         {fresh(layout({kSteps, kBatch, kHidden})), fresh(layout({1, kBatch, kHidden})),
          fresh(layout({0})), fresh(layout({reserve}, 0)),
          fresh(layout({kHidden * (kInputs + kHidden)}))});
  executor->call(0, Values(id(1), id(2), id(3), id(4), id(5), id(6), id(7), id(8), id(9)));
  const auto expected = at::rnn_tanh(input, state, weights, /*has_biases=*/false, 1, 0.0, true,
                                     /*bidirectional=*/false, /*batch_first=*/false);
  EXPECT_TRUE(holds(id(5), std::get<0>(expected)));
  EXPECT_TRUE(holds(id(6), std::get<1>(expected)));
}

TEST_F(RecurrentNetworksTest, RefusesWhatDoesNotFitTogether) {
  expect_refusal("no recurrent network 7", {.kind = 7});
  expect_refusal("doesn't have 0 layers", {.layers = 0});
  expect_refusal("doesn't have 2 weights", {.layers = 2});
  expect_refusal("doesn't have 1099511627776 layers", {.layers = std::int64_t{1} << 40});
  expect_refusal("hidden size", {.hidden_size = std::int64_t{1} << 40});
  expect_refusal("an LSTM, and no other, has cells", {.kind = 2});
  const Integers rows = {kSteps * kBatch, kInputs};
  expect_refusal("batch sizes", {.input = rows, .batch_sizes = {2, 2, 3}});
  expect_refusal("batch sizes", {.input = rows, .batch_sizes = {7, -1}});
  expect_refusal("batch sizes", {.input = rows, .batch_sizes = {2, 2}});
  expect_refusal("dimensions", {.batch_sizes = {2, 2, 2}});
}

}  // namespace
}  // namespace torch_remote::executor
