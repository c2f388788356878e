// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Shapes of cuDNN's recurrent networks, with the checks that PyTorch makes for CUDA.
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/client/planned_results.h"
#include "core/client/rule_functions.h"
#include "core/protocol/recurrent_network.h"

namespace torch_remote::client::rules {
namespace {

using protocol::RecurrentKind;
using protocol::RecurrentNetwork;

// The arguments that forward and backward share, from mode on.
struct Options {
  RecurrentKind kind;
  std::int64_t hidden_size;
  std::int64_t projection_size;
  std::int64_t layer_count;
  bool batch_first;
  double dropout;
  bool train;
  std::int64_t direction_count;
  std::vector<std::int64_t> batch_sizes;  // packed sequences; else none

  bool is_packed() const { return !batch_sizes.empty(); }
  // Whether results come as [batch, steps, width], of which steps are outermost in memory.
  bool is_transposed() const { return batch_first && !is_packed(); }
  std::int64_t output_size() const { return projection_size == 0 ? hidden_size : projection_size; }
};

Options read_options(Arguments arguments, std::size_t first) {
  const std::int64_t mode = arguments[first].toInt();
  TORCH_CHECK(protocol::is_recurrent_kind(mode), "unknown cuDNN RNN mode ", mode);
  return {.kind = static_cast<RecurrentKind>(mode),
          .hidden_size = arguments[first + 1].toInt(),
          .projection_size = arguments[first + 2].toInt(),
          .layer_count = arguments[first + 3].toInt(),
          .batch_first = arguments[first + 4].toBool(),
          .dropout = arguments[first + 5].toDouble(),
          .train = arguments[first + 6].toBool(),
          .direction_count = arguments[first + 7].toBool() ? 2 : 1,
          .batch_sizes = arguments[first + 8].toIntVector()};
}

struct Sizes {
  std::int64_t batch;
  std::int64_t steps;
  std::int64_t rows;
};

Sizes read_sizes(const at::Tensor& input, const Options& options) {
  if (options.is_packed()) {
    TORCH_CHECK(input.dim() == 2, "rnn: a packed input has 2 dimensions, not ", input.dim());
    return {.batch = options.batch_sizes.front(),
            .steps = static_cast<std::int64_t>(options.batch_sizes.size()),
            .rows = input.size(0)};
  }
  TORCH_CHECK(input.dim() == 3, "rnn: an input has 3 dimensions, not ", input.dim());
  const std::int64_t batch = input.size(options.batch_first ? 0 : 1);
  const std::int64_t steps = input.size(options.batch_first ? 1 : 0);
  return {.batch = batch, .steps = steps, .rows = batch * steps};
}

const at::Tensor& tensor_or_none(const c10::IValue& value) {
  static const at::Tensor none;
  return value.isNone() ? none : value.toTensor();
}

void check_state(const at::Tensor& state, const at::Tensor& input, c10::IntArrayRef sizes,
                 const char* name) {
  TORCH_CHECK(state.scalar_type() == input.scalar_type(),
              "Input and hidden tensors are not the same dtype, found input tensor with ",
              input.scalar_type(), " and hidden tensor with ", state.scalar_type());
  TORCH_CHECK(state.sizes() == sizes, "Expected hidden size ", sizes, ", got ", state.sizes());
  TORCH_CHECK(state.is_contiguous(), "rnn: ", name, " is not contiguous");
}

void check_weights(const c10::List<at::Tensor>& weights, const at::Tensor& input) {
  for (const at::Tensor& weight : weights) {
    TORCH_CHECK(weight.scalar_type() == input.scalar_type(),
                "Input and parameter tensors are not the same dtype, found input tensor with ",
                input.scalar_type(), " and parameter tensor with ", weight.scalar_type());
  }
}

// [batch, steps, width] or [steps, batch, width], in memory by steps; packed, [rows, width].
void add_sequences(ClientPlan& plan, const Options& options, const Sizes& sizes, std::int64_t width,
                   c10::ScalarType dtype) {
  if (options.is_packed()) return add_contiguous(plan, {sizes.rows, width}, dtype);
  if (!options.is_transposed())
    return add_contiguous(plan, {sizes.steps, sizes.batch, width}, dtype);
  add_tensor(plan, {sizes.batch, sizes.steps, width}, {width, sizes.batch * width, 1}, dtype);
}

}  // namespace

// _cudnn_rnn(input, weight, weight_stride0, weight_buf?, hx, cx?, mode, hidden_size, proj_size,
// num_layers, batch_first, dropout, train, bidirectional, batch_sizes, dropout_state?) ->
// (output, hy, cy, reserve, weight_buf)
bool cudnn_rnn(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  const at::Tensor& buffer = tensor_or_none(arguments[3]);
  const at::Tensor& hidden = arguments[4].toTensor();
  const at::Tensor& cell = tensor_or_none(arguments[5]);
  const Options options = read_options(arguments, 6);
  const Sizes sizes = read_sizes(input, options);
  const std::int64_t cells = options.layer_count * options.direction_count;
  const bool is_lstm = options.kind == RecurrentKind::kLstm;
  TORCH_CHECK(is_lstm || !cell.defined(), "rnn: illegal defined cx for non-LSTM RNN");
  check_weights(arguments[1].toTensorList(), input);
  check_state(hidden, input, {cells, sizes.batch, options.output_size()}, "hx");
  if (is_lstm) check_state(cell, input, {cells, sizes.batch, options.hidden_size}, "cx");

  const c10::ScalarType dtype = input.scalar_type();
  add_sequences(plan, options, sizes, options.output_size() * options.direction_count, dtype);
  add_contiguous(plan, hidden.sizes(), dtype);
  if (is_lstm)
    add_contiguous(plan, cell.sizes(), dtype);
  else
    add_contiguous(plan, {0}, dtype);
  const RecurrentNetwork network{
      .kind = options.kind,
      .layer_count = static_cast<std::uint64_t>(options.layer_count),
      .direction_count = static_cast<std::uint64_t>(options.direction_count),
      .input_size = static_cast<std::uint64_t>(input.size(-1)),
      .hidden_size = static_cast<std::uint64_t>(options.hidden_size),
      .projection_size = static_cast<std::uint64_t>(options.projection_size),
      .batch_size = static_cast<std::uint64_t>(sizes.batch),
      .step_count = static_cast<std::uint64_t>(sizes.steps),
      .row_count = static_cast<std::uint64_t>(sizes.rows),
      .element_size_bytes = static_cast<std::uint64_t>(c10::elementSize(dtype)),
      .has_biases = arguments[2].toInt() >= 4,  // a projection's matrix is one more
      .has_dropout = options.dropout > 0};
  const auto reserve =
      options.train ? static_cast<std::int64_t>(protocol::reserve_size_bytes(network)) : 0;
  add_contiguous(plan, {reserve}, c10::ScalarType::Byte);
  if (buffer.defined()) {
    plan.returns.push_back({.kind = PlannedReturn::Kind::kArgument, .value = 3});
  } else {
    add_contiguous(plan, {static_cast<std::int64_t>(protocol::weight_element_count(network))},
                   dtype);
  }
  return true;
}

// _cudnn_rnn_backward(input, weight, weight_stride0, weight_buf, hx, cx?, output, grad_output?,
// grad_hy?, grad_cy?, mode, hidden_size, proj_size, num_layers, batch_first, dropout, train,
// bidirectional, batch_sizes, dropout_state?, reserve, output_mask) ->
// (grad_input, grad_hx, grad_cx, grad_weights)
bool cudnn_rnn_backward(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  const at::Tensor& hidden = arguments[4].toTensor();
  const at::Tensor& cell = tensor_or_none(arguments[5]);
  const Options options = read_options(arguments, 10);
  TORCH_CHECK(options.train, "cudnn RNN backward can only be called in training mode");
  const c10::ScalarType dtype = input.scalar_type();
  add_sequences(plan, options, read_sizes(input, options), input.size(-1), dtype);
  add_contiguous(plan, hidden.sizes(), dtype);
  if (cell.defined())
    add_contiguous(plan, cell.sizes(), dtype);
  else
    add_undefined(plan);
  const std::size_t first_return = plan.returns.size();
  if (arguments[21].toBoolList().get(3)) {
    for (const at::Tensor& weight : arguments[1].toTensorList())
      add_contiguous(plan, weight.sizes(), weight.scalar_type());
  }
  const auto weight_count = static_cast<std::int64_t>(plan.returns.size() - first_return);
  plan.returns.resize(first_return);  // the elements are told by the list's count
  plan.returns.push_back({.kind = PlannedReturn::Kind::kList, .value = weight_count});
  return true;
}

// _cudnn_init_dropout_state(dropout, train, dropout_seed, ...) -> a state that only the executor
// looks into.
bool dropout_state(Arguments, ClientPlan& plan) {
  add_contiguous(plan, {16}, c10::ScalarType::Byte);
  return true;
}

}  // namespace torch_remote::client::rules
