// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/recurrent_networks.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gru.h>
#include <ATen/ops/lstm.h>
#include <ATen/ops/rnn_relu.h>
#include <ATen/ops/rnn_tanh.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <array>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <torch/csrc/autograd/autograd.h>
#include <tuple>
#include <utility>
#include <vector>

#include "core/executor/libtorch/stack_values.h"
#include "core/protocol/recurrent_network.h"

namespace torch_remote::executor::libtorch {
namespace {

using protocol::RecurrentKind;
using protocol::RecurrentNetwork;

// What a dropout state holds, and the reserve begins with.
struct Draw {
  std::int64_t seed = 0;
  std::int64_t call = 0;
};
constexpr std::int64_t kDrawBytes = sizeof(Draw);

// The arguments that forward and backward share; sequences are [steps, batch, width], or [rows,
// width] where they are packed.
struct Call {
  RecurrentKind kind{};
  std::int64_t layer_count = 0;
  std::int64_t direction_count = 1;
  std::int64_t hidden_size = 0;
  std::int64_t weights_per_cell = 0;
  bool batch_first = false;
  bool train = false;
  double dropout = 0;
  std::vector<std::int64_t> batch_sizes;
  at::Tensor input;
  at::Tensor state;
  at::Tensor cell;  // undefined but for an LSTM
  std::vector<at::Tensor> weights;

  bool is_lstm() const { return kind == RecurrentKind::kLstm; }
  bool is_packed() const { return !batch_sizes.empty(); }
  bool is_transposed() const { return batch_first && !is_packed(); }
  bool has_biases() const { return weights_per_cell >= 4; }
  bool drops() const { return train && dropout > 0 && layer_count > 1; }
  std::int64_t batch() const { return is_packed() ? batch_sizes.front() : input.size(1); }
  std::int64_t steps() const {
    return is_packed() ? static_cast<std::int64_t>(batch_sizes.size()) : input.size(0);
  }
};

// Undefined where there is none.
at::Tensor tensor_or_none(const c10::IValue& value) {
  return optional_tensor(value).value_or(at::Tensor());
}

// Clients are not trusted: what the slices below rely on.
void check(const Call& call) {
  const auto cells = static_cast<std::uint64_t>(call.layer_count * call.direction_count);
  const auto gates = static_cast<std::int64_t>(protocol::gate_count(call.kind));
  TORCH_CHECK_VALUE(
      call.weights_per_cell >= 2 && call.weights_per_cell <= 5 &&
          call.weights.size() == cells * static_cast<std::uint64_t>(call.weights_per_cell),
      "a recurrent network of ", cells, " cells doesn't have ", call.weights.size(), " weights");
  TORCH_CHECK_VALUE(call.input.dim() == (call.is_packed() ? 2 : 3) && call.state.dim() == 3,
                    "a recurrent network's input or state has a wrong number of dimensions");
  for (std::size_t i = 1; i < call.weights.size();
       i += static_cast<std::size_t>(call.weights_per_cell)) {
    TORCH_CHECK_VALUE(
        call.weights[i].dim() == 2 && call.weights[i].size(0) == gates * call.hidden_size,
        "a recurrent network's weights don't have the hidden size that is told");
  }
  if (!call.is_packed()) return;
  const std::int64_t rows = call.input.size(0);
  bool fits = call.batch_sizes.back() > 0 &&
              std::ranges::is_sorted(call.batch_sizes, std::ranges::greater());
  std::int64_t rest = rows;
  for (std::size_t i = 0; fits && i < call.batch_sizes.size(); ++i) {
    fits = call.batch_sizes[i] <= rest;
    if (fits) rest -= call.batch_sizes[i];
  }
  TORCH_CHECK_VALUE(fits && rest == 0,
                    "batch sizes have to decrease and to sum up to the rows of the input, ", rows);
}

// `options`: the position of mode.
Call read_call(const torch::jit::Stack& stack, std::size_t state, std::size_t options) {
  const std::int64_t kind = stack.at(options).toInt();
  TORCH_CHECK_VALUE(protocol::is_recurrent_kind(kind), "there is no recurrent network ", kind);
  Call call{.kind = static_cast<RecurrentKind>(kind),
            .layer_count = stack.at(options + 3).toInt(),
            .direction_count = stack.at(options + 7).toBool() ? 2 : 1,
            .hidden_size = stack.at(options + 1).toInt(),
            .weights_per_cell = stack.at(2).toInt(),
            .batch_first = stack.at(options + 4).toBool(),
            .train = stack.at(options + 6).toBool(),
            .dropout = stack.at(options + 5).toDouble(),
            .batch_sizes = stack.at(options + 8).toIntVector(),
            .input = stack.at(0).toTensor(),
            .state = stack.at(state).toTensor(),
            .cell = tensor_or_none(stack.at(state + 1)),
            .weights = stack.at(1).toTensorVector()};
  TORCH_CHECK_VALUE(
      call.layer_count >= 1 && call.layer_count <= static_cast<std::int64_t>(call.weights.size()),
      "a recurrent network doesn't have ", call.layer_count, " layers");
  TORCH_CHECK_VALUE(call.cell.defined() == call.is_lstm(), "an LSTM, and no other, has cells");
  if (call.is_transposed()) call.input = call.input.transpose(0, 1);
  check(call);
  return call;
}

std::int64_t reserve_size(const Call& call) {
  const at::Tensor& output_weight = call.weights.at(1);  // [gates * hidden, output]
  const auto unsigned_of = [](std::int64_t value) { return static_cast<std::uint64_t>(value); };
  const std::int64_t output_size = output_weight.size(1);
  return static_cast<std::int64_t>(protocol::reserve_size_bytes(
      {.kind = call.kind,
       .layer_count = unsigned_of(call.layer_count),
       .direction_count = unsigned_of(call.direction_count),
       .input_size = unsigned_of(call.input.size(-1)),
       .hidden_size = unsigned_of(call.hidden_size),
       .projection_size = unsigned_of(output_size == call.hidden_size ? 0 : output_size),
       .batch_size = unsigned_of(call.batch()),
       .step_count = unsigned_of(call.steps()),
       .row_count = unsigned_of(call.is_packed() ? call.input.size(0)
                                                 : call.input.size(0) * call.input.size(1)),
       .element_size_bytes = unsigned_of(call.input.element_size()),
       .has_biases = call.has_biases(),
       .has_dropout = call.dropout > 0}));
}

// ---- computing ----

using Results = std::tuple<at::Tensor, at::Tensor, at::Tensor>;  // output, state, cell

// Sequences through one layer, in one direction or both.
Results run_layer(const Call& call, std::int64_t layer, const at::Tensor& input) {
  const auto per_layer = static_cast<std::size_t>(call.direction_count * call.weights_per_cell);
  const at::TensorList weights =
      at::TensorList(call.weights).slice(static_cast<std::size_t>(layer) * per_layer, per_layer);
  const auto slice = [&](const at::Tensor& states) {
    return states.narrow(0, layer * call.direction_count, call.direction_count);
  };
  const bool both = call.direction_count == 2;
  const at::Tensor batch_sizes =
      call.is_packed() ? at::tensor(call.batch_sizes, at::kLong) : at::Tensor();
  if (call.is_lstm()) {
    const std::array<at::Tensor, 2> states = {slice(call.state), slice(call.cell)};
    return call.is_packed() ? at::lstm(input, batch_sizes, states, weights, call.has_biases(), 1,
                                       0.0, call.train, both)
                            : at::lstm(input, states, weights, call.has_biases(), 1, 0.0,
                                       call.train, both, /*batch_first=*/false);
  }
  const auto run = [&](auto&& network) -> Results {
    auto [output, state] = call.is_packed()
                               ? network(input, batch_sizes, slice(call.state), weights,
                                         call.has_biases(), 1, 0.0, call.train, both)
                               : network(input, slice(call.state), weights, call.has_biases(), 1,
                                         0.0, call.train, both, /*batch_first=*/false);
    return {std::move(output), std::move(state), at::Tensor()};
  };
  switch (call.kind) {
    case RecurrentKind::kGru:
      return run([](auto&&... arguments) { return at::gru(arguments...); });
    case RecurrentKind::kRelu:
      return run([](auto&&... arguments) { return at::rnn_relu(arguments...); });
    default:
      return run([](auto&&... arguments) { return at::rnn_tanh(arguments...); });
  }
}

// What elements are multiplied by between two layers.
at::Tensor kept_share(const at::Tensor& output, double dropout, at::Generator& generator) {
  const double keep = 1.0 - dropout;
  const c10::InferenceMode is_recorded(false);
  return at::empty(output.sizes(), output.options().requires_grad(false))
      .bernoulli_(keep, generator)
      .mul_(keep == 0 ? 0.0 : 1.0 / keep);
}

Results run_layers(const Call& call, const Draw& draw) {
  // Another stream of numbers for each call of a state.
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(
      static_cast<std::uint64_t>(draw.seed) +
      static_cast<std::uint64_t>(draw.call) * 0x9e3779b97f4a7c15U);
  at::Tensor sequences = call.input;
  std::vector<at::Tensor> states, cells;
  for (std::int64_t layer = 0; layer < call.layer_count; ++layer) {
    if (layer > 0 && call.drops())
      sequences = sequences.mul(kept_share(sequences, call.dropout, generator));
    auto [output, state, cell] = run_layer(call, layer, sequences);
    sequences = std::move(output);
    states.push_back(std::move(state));
    cells.push_back(std::move(cell));
  }
  return {std::move(sequences), at::cat(states), call.is_lstm() ? at::cat(cells) : at::Tensor()};
}

// ---- dropout states ----

Draw read_draw(const at::Tensor& bytes) {
  TORCH_CHECK_VALUE(bytes.defined() && bytes.scalar_type() == at::kByte && bytes.is_contiguous() &&
                        bytes.numel() >= kDrawBytes,
                    "a recurrent network with dropout needs its state");
  Draw draw;
  std::memcpy(&draw, bytes.const_data_ptr(), sizeof(draw));
  return draw;
}

void write_draw(const Draw& draw, const at::Tensor& bytes) {
  std::memcpy(bytes.mutable_data_ptr(), &draw, sizeof(draw));
}

// ---- precision ----

bool is_half(const at::Tensor& tensor) { return at::isReducedFloatingType(tensor.scalar_type()); }

Call in_computing_precision(Call call) {
  if (!is_half(call.input)) return call;
  const auto widen = [](at::Tensor& tensor) {
    if (tensor.defined()) tensor = tensor.to(at::kFloat);
  };
  widen(call.input);
  widen(call.state);
  widen(call.cell);
  std::ranges::for_each(call.weights, widen);
  return call;
}

at::Tensor as(at::ScalarType dtype, const at::Tensor& tensor) {
  return tensor.defined() ? tensor.to(dtype) : tensor;
}

// ---- gradients ----

// The same values as a leaf of autograd. Tensors of inference mode, as an executor's are, can't be
// one.
at::Tensor leaf_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return tensor;
  at::Tensor leaf = at::empty({0}, tensor.options());
  leaf.set_(tensor.storage(), tensor.storage_offset(), tensor.sizes(), tensor.strides());
  return leaf.requires_grad_(true);
}

struct Gradients {
  at::Tensor output;
  at::Tensor state;
  at::Tensor cell;
};

// Of input, state, cell (undefined where there is none), and the weights.
std::vector<at::Tensor> differentiate(const Call& values, const Draw& draw,
                                      const Gradients& gradients) {
  const c10::InferenceMode is_recorded(false);
  const at::AutoGradMode has_gradients(true);
  Call call = values;
  call.input = leaf_of(call.input);
  call.state = leaf_of(call.state);
  call.cell = leaf_of(call.cell);
  for (at::Tensor& weight : call.weights) weight = leaf_of(weight);
  const auto [output, state, cell] = run_layers(call, draw);

  std::vector<at::Tensor> results, result_gradients;
  const auto add = [&](const at::Tensor& result, const at::Tensor& gradient) {
    if (!gradient.defined()) return;
    results.push_back(result);
    result_gradients.push_back(gradient.to(result.scalar_type()));
  };
  add(output, gradients.output);
  add(state, gradients.state);
  add(cell, gradients.cell);
  std::vector<at::Tensor> leaves = {call.input, call.state};
  if (call.is_lstm()) leaves.push_back(call.cell);
  leaves.insert(leaves.end(), call.weights.begin(), call.weights.end());
  std::vector<at::Tensor> found =
      torch::autograd::grad(results, leaves, result_gradients, /*retain_graph=*/false,
                            /*create_graph=*/false, /*allow_unused=*/true);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (!found[i].defined()) found[i] = at::zeros(leaves[i].sizes(), leaves[i].options());
    found[i] = found[i].detach();
  }
  if (!call.is_lstm()) found.insert(found.begin() + 2, at::Tensor());
  return found;
}

}  // namespace

// Arguments: input, weight, weight_stride0, weight_buf, hx, cx, mode, hidden_size, proj_size,
// num_layers, batch_first, dropout, train, bidirectional, batch_sizes, dropout_state.
void cudnn_rnn(torch::jit::Stack& stack, const at::Generator&) {
  const Call call = read_call(stack, /*state=*/4, /*options=*/6);
  const at::ScalarType dtype = call.input.scalar_type();
  at::Tensor reserve = at::empty({call.train ? reserve_size(call) : 0}, at::kByte);
  Draw draw;
  if (call.drops()) {
    const at::Tensor dropout_state = tensor_or_none(stack.at(15));
    draw = read_draw(dropout_state);
    write_draw(draw, reserve);
    write_draw({.seed = draw.seed, .call = draw.call + 1}, dropout_state);
  }
  at::Tensor buffer = tensor_or_none(stack.at(3));
  if (!buffer.defined()) {
    std::vector<at::Tensor> parts;
    for (const at::Tensor& weight : call.weights) parts.push_back(weight.reshape({-1}));
    buffer = at::cat(parts);  // nothing here reads it
  }
  auto [output, state, cell] = run_layers(in_computing_precision(call), draw);
  output = as(dtype, output);
  if (call.is_transposed()) output = output.transpose(0, 1);
  if (!cell.defined()) cell = at::empty({0}, state.options());
  replace(stack, std::move(output), as(dtype, state), as(dtype, cell), std::move(reserve),
          std::move(buffer));
}

// Arguments: input, weight, weight_stride0, weight_buf, hx, cx, output, grad_output, grad_hy,
// grad_cy, mode, hidden_size, proj_size, num_layers, batch_first, dropout, train, bidirectional,
// batch_sizes, dropout_state, reserve, output_mask.
void cudnn_rnn_backward(torch::jit::Stack& stack, const at::Generator&) {
  const Call call = read_call(stack, /*state=*/4, /*options=*/10);
  TORCH_CHECK(call.train, "cudnn RNN backward can only be called in training mode");
  const at::ScalarType dtype = call.input.scalar_type();
  const Draw draw = call.drops() ? read_draw(stack.at(20).toTensor()) : Draw();
  Gradients gradients{.output = tensor_or_none(stack.at(7)),
                      .state = tensor_or_none(stack.at(8)),
                      .cell = tensor_or_none(stack.at(9))};
  if (gradients.output.defined() && call.is_transposed())
    gradients.output = gradients.output.transpose(0, 1);
  std::vector<at::Tensor> found = differentiate(in_computing_precision(call), draw, gradients);
  at::Tensor input = as(dtype, found[0]);
  if (call.is_transposed()) input = input.transpose(0, 1);
  at::Tensor state = as(dtype, found[1]), cell = as(dtype, found[2]);
  c10::List<at::Tensor> weights;
  if (stack.at(21).toBoolList().get(3)) {
    for (std::size_t i = 3; i < found.size(); ++i) weights.push_back(as(dtype, found[i]));
  }
  replace(stack, std::move(input), std::move(state), std::move(cell), std::move(weights));
}

// Arguments: dropout, train, dropout_seed, ...
void cudnn_init_dropout_state(torch::jit::Stack& stack, const at::Generator&) {
  at::Tensor state = at::empty({kDrawBytes}, at::kByte);
  write_draw({.seed = stack.at(2).toInt()}, state);
  replace(stack, std::move(state));
}

}  // namespace torch_remote::executor::libtorch
