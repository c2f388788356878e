// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/recurrent_networks.h"

#include <ATen/Context.h>
#include <ATen/ops/_cudnn_init_dropout_state.h>
#include <ATen/ops/_cudnn_rnn.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gru_native.h>
#include <ATen/ops/lstm_native.h>
#include <ATen/ops/rnn_relu_native.h>
#include <ATen/ops/rnn_tanh_native.h>
#include <algorithm>
#include <array>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <cstddef>
#include <utility>

#include "core/client/device.h"
#include "core/client/recurrent_weights.h"
#include "core/client/run_operator.h"
#include "core/protocol/recurrent_network.h"

namespace torch_remote::client {
namespace {

using protocol::RecurrentKind;

// What all the kinds are called with.
struct Network {
  RecurrentKind kind;
  const at::Tensor& input;  // [steps, batch, width], [batch, steps, width] or [rows, width]
  const at::Tensor& state;
  const at::Tensor& cell;  // undefined but for an LSTM
  at::TensorList weights;
  bool has_biases;
  std::int64_t layers;
  double dropout;
  bool train;
  bool bidirectional;
  bool batch_first = false;
  at::IntArrayRef batch_sizes{};  // of packed sequences
};

const at::Tensor& no_tensor() {
  static const at::Tensor none;
  return none;
}

// PyTorch's conditions for cuDNN, of a tensor on a device that stands for a GPU.
bool is_acceptable(const at::Tensor& input) {
  constexpr std::array kDtypes = {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16};
  return input.device().type() == c10::DeviceType::PrivateUse1 &&
         at::globalContext().userEnabledCuDNN() &&
         std::ranges::find(kDtypes, input.scalar_type()) != kDtypes.end() &&
         input.sym_numel() != 0 && has_recurrent_networks(device_of(input.device()));
}

// cuDNN's operator has neither a forward derivative nor a rule for torch.func's transforms: what
// is inside one gets the cells, which have some.
bool is_transformed(const at::Tensor& tensor) {
  constexpr c10::DispatchKeySet kTransforms(
      {c10::DispatchKey::FuncTorchBatched, c10::DispatchKey::FuncTorchGradWrapper});
  return tensor.defined() &&
         (tensor.key_set().has_any(kTransforms) || tensor._fw_grad(/*level=*/0).defined());
}

bool takes_cudnn(const at::Tensor& input, at::TensorList states, at::TensorList weights) {
  return is_acceptable(input) && !weights.empty() && !is_transformed(input) &&
         std::ranges::none_of(states, is_transformed) &&
         std::ranges::none_of(weights, is_transformed);
}

// ---- dropout ----

// Drawn on the device, as on CUDA. A dry run has no values, and needs none.
std::int64_t draw_seed(const at::TensorOptions& options) {
  const at::Tensor seed = at::empty({}, options.dtype(at::kLong)).random_();
  return device_of(options.device()).has_values() ? seed.item<std::int64_t>() : 0;
}

// One state a device, made when a network first drops, from a seed of the device's default
// generator, as on CUDA: a program's seeds don't reach it again.
at::Tensor dropout_state_of(double dropout, const at::TensorOptions& options) {
  return device_of(options.device()).dropout_state([&] {
    const c10::InferenceMode is_kept(false);  // a later call may need it for its backward
    return at::_cudnn_init_dropout_state(dropout, /*train=*/true, draw_seed(options),
                                         options.dtype(at::kByte));
  });
}

ThreeTensors run(const Network& network) {
  const std::int64_t width = network.state.size(2);
  // An LSTM with projections has states of two widths.
  const std::int64_t hidden_size = network.cell.defined() ? network.cell.size(2) : width;
  const std::int64_t projection_size = hidden_size == width ? 0 : width;
  const std::int64_t weights_per_cell = (network.has_biases ? 4 : 2) + (projection_size ? 1 : 0);
  const at::Tensor buffer = find_weight_buffer(network.weights, weights_per_cell);
  if (!buffer.defined()) {
    TORCH_WARN(
        "RNN module weights are not part of single contiguous chunk of memory. This means they "
        "need to be compacted at every call, possibly greatly increasing memory usage. To compact "
        "weights again call flatten_parameters().");
  }
  const bool drops = network.dropout > 0 && network.train;
  const at::Tensor dropout_state =
      drops ? dropout_state_of(network.dropout, network.input.options()) : at::Tensor();
  auto [output, state, cell, reserve, used_buffer] =
      at::_cudnn_rnn(network.input, network.weights, weights_per_cell, buffer, network.state,
                     network.cell, static_cast<std::int64_t>(network.kind), hidden_size,
                     projection_size, network.layers, network.batch_first, network.dropout,
                     network.train, network.bidirectional, network.batch_sizes, dropout_state);
  return {std::move(output), std::move(state), std::move(cell)};
}

at::IntArrayRef batch_sizes_of(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.dim() == 1, "batch_sizes tensor should be 1D");
  TORCH_CHECK(
      tensor.device().is_cpu() && tensor.scalar_type() == at::kLong && tensor.is_contiguous(),
      "batch_sizes should be a contiguous CPU tensor of int64");
  return {tensor.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(tensor.numel())};
}

TwoTensors without_cell(ThreeTensors results) {
  return {std::move(std::get<0>(results)), std::move(std::get<1>(results))};
}

}  // namespace

bool has_recurrent_networks(const Device& device) { return device.emulates_gpu(); }

ThreeTensors lstm_input(const at::Tensor& input, at::TensorList states, at::TensorList weights,
                        bool has_biases, std::int64_t layers, double dropout, bool train,
                        bool bidirectional, bool batch_first) {
  TORCH_CHECK(states.size() == 2, "lstm expects two hidden states");
  if (!takes_cudnn(input, states, weights))
    return at::native::lstm(input, states, weights, has_biases, layers, dropout, train,
                            bidirectional, batch_first);
  return run({.kind = RecurrentKind::kLstm,
              .input = input,
              .state = states[0],
              .cell = states[1],
              .weights = weights,
              .has_biases = has_biases,
              .layers = layers,
              .dropout = dropout,
              .train = train,
              .bidirectional = bidirectional,
              .batch_first = batch_first});
}

ThreeTensors lstm_data(const at::Tensor& data, const at::Tensor& batch_sizes, at::TensorList states,
                       at::TensorList weights, bool has_biases, std::int64_t layers, double dropout,
                       bool train, bool bidirectional) {
  TORCH_CHECK(states.size() == 2, "lstm expects two hidden states");
  if (!takes_cudnn(data, states, weights))
    return at::native::lstm(data, batch_sizes, states, weights, has_biases, layers, dropout, train,
                            bidirectional);
  return run({.kind = RecurrentKind::kLstm,
              .input = data,
              .state = states[0],
              .cell = states[1],
              .weights = weights,
              .has_biases = has_biases,
              .layers = layers,
              .dropout = dropout,
              .train = train,
              .bidirectional = bidirectional,
              .batch_sizes = batch_sizes_of(batch_sizes)});
}

// The kinds with one state differ in names alone.
#define TORCH_REMOTE_RECURRENT_NETWORK(NAME, KIND)                                              \
  TwoTensors NAME##_input(const at::Tensor& input, const at::Tensor& state,                     \
                          at::TensorList weights, bool has_biases, std::int64_t layers,         \
                          double dropout, bool train, bool bidirectional, bool batch_first) {   \
    if (!takes_cudnn(input, state, weights))                                                    \
      return at::native::NAME(input, state, weights, has_biases, layers, dropout, train,        \
                              bidirectional, batch_first);                                      \
    return without_cell(run({.kind = (KIND),                                                    \
                             .input = input,                                                    \
                             .state = state,                                                    \
                             .cell = no_tensor(),                                               \
                             .weights = weights,                                                \
                             .has_biases = has_biases,                                          \
                             .layers = layers,                                                  \
                             .dropout = dropout,                                                \
                             .train = train,                                                    \
                             .bidirectional = bidirectional,                                    \
                             .batch_first = batch_first}));                                     \
  }                                                                                             \
  TwoTensors NAME##_data(const at::Tensor& data, const at::Tensor& batch_sizes,                 \
                         const at::Tensor& state, at::TensorList weights, bool has_biases,      \
                         std::int64_t layers, double dropout, bool train, bool bidirectional) { \
    if (!takes_cudnn(data, state, weights))                                                     \
      return at::native::NAME(data, batch_sizes, state, weights, has_biases, layers, dropout,   \
                              train, bidirectional);                                            \
    return without_cell(run({.kind = (KIND),                                                    \
                             .input = data,                                                     \
                             .state = state,                                                    \
                             .cell = no_tensor(),                                               \
                             .weights = weights,                                                \
                             .has_biases = has_biases,                                          \
                             .layers = layers,                                                  \
                             .dropout = dropout,                                                \
                             .train = train,                                                    \
                             .bidirectional = bidirectional,                                    \
                             .batch_sizes = batch_sizes_of(batch_sizes)}));                     \
  }

TORCH_REMOTE_RECURRENT_NETWORK(gru, RecurrentKind::kGru)
TORCH_REMOTE_RECURRENT_NETWORK(rnn_tanh, RecurrentKind::kTanh)
TORCH_REMOTE_RECURRENT_NETWORK(rnn_relu, RecurrentKind::kRelu)
#undef TORCH_REMOTE_RECURRENT_NETWORK

std::tuple<at::Tensor, at::Tensor, at::Tensor, std::vector<at::Tensor>> recurrent_backward(
    const at::Tensor& input, at::TensorList weights, std::int64_t weights_per_cell,
    const at::Tensor& weight_buffer, const at::Tensor& state, const std::optional<at::Tensor>& cell,
    const at::Tensor& output, const std::optional<at::Tensor>& output_gradient,
    const std::optional<at::Tensor>& state_gradient, const std::optional<at::Tensor>& cell_gradient,
    std::int64_t mode, c10::SymInt hidden_size, c10::SymInt projection_size, std::int64_t layers,
    bool batch_first, double dropout, bool train, bool bidirectional,
    c10::SymIntArrayRef batch_sizes, const std::optional<at::Tensor>& dropout_state,
    const at::Tensor& reserve, std::array<bool, 4> output_mask) {
  const auto is_defined = [](const std::optional<at::Tensor>& tensor) {
    return tensor && tensor->defined();
  };
  if (!is_defined(output_gradient) && !is_defined(state_gradient) && !is_defined(cell_gradient))
    return {at::Tensor(), at::Tensor(), at::Tensor(), std::vector<at::Tensor>(weights.size())};
  torch::jit::Stack stack{input,
                          weights,
                          weights_per_cell,
                          weight_buffer,
                          state,
                          cell,
                          output,
                          output_gradient,
                          state_gradient,
                          cell_gradient,
                          mode,
                          hidden_size.expect_int(),
                          projection_size.expect_int(),
                          layers,
                          batch_first,
                          dropout,
                          train,
                          bidirectional,
                          C10_AS_INTARRAYREF_SLOW(batch_sizes),
                          dropout_state,
                          reserve,
                          std::vector<bool>(output_mask.begin(), output_mask.end())};
  run_operator("aten::_cudnn_rnn_backward", "", &stack);
  return {std::move(stack[0]).toTensor(), std::move(stack[1]).toTensor(),
          std::move(stack[2]).toTensor(), std::move(stack[3]).toTensorVector()};
}

}  // namespace torch_remote::client
