// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/recurrent_cells.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>
#include <utility>
#include <vector>

#include "core/executor/libtorch/stack_values.h"

namespace torch_remote::executor::libtorch {
namespace {

at::Tensor with_bias(const c10::IValue& gates, const c10::IValue& bias) {
  const auto known_bias = optional_tensor(bias);
  return known_bias ? gates.toTensor() + *known_bias : gates.toTensor();
}

}  // namespace

// Arguments: input_gates, hidden_gates, cx, input_bias, hidden_bias.
void lstm_cell(torch::jit::Stack& stack, const at::Generator&) {
  const at::Tensor gates =
      with_bias(stack.at(0), stack.at(3)) + with_bias(stack.at(1), stack.at(4));
  const std::vector<at::Tensor> parts = gates.chunk(4, 1);
  const at::Tensor in = parts.at(0).sigmoid(), forget = parts.at(1).sigmoid();
  const at::Tensor cell = parts.at(2).tanh(), out = parts.at(3).sigmoid();
  at::Tensor next_cell = forget * stack.at(2).toTensor() + in * cell;
  at::Tensor next_hidden = out * next_cell.tanh();
  replace(stack, std::move(next_hidden), std::move(next_cell), at::cat({in, forget, cell, out}, 1));
}

// Arguments: grad_hy, grad_cy, cx, cy, workspace, has_bias.
void lstm_cell_backward(torch::jit::Stack& stack, const at::Generator&) {
  const auto hidden_gradient = optional_tensor(stack.at(0));
  auto cell_gradient = optional_tensor(stack.at(1));
  const at::Tensor last_cell = stack.at(2).toTensor();
  const at::Tensor squashed = stack.at(3).toTensor().tanh();
  const std::vector<at::Tensor> parts = stack.at(4).toTensor().chunk(4, 1);
  const at::Tensor &in = parts.at(0), &forget = parts.at(1), &cell = parts.at(2),
                   &out = parts.at(3);
  at::Tensor out_gradient = at::zeros_like(out);
  if (hidden_gradient) {
    out_gradient = *hidden_gradient * squashed * out * (1 - out);
    const at::Tensor through_hidden = *hidden_gradient * out * (1 - squashed * squashed);
    cell_gradient = cell_gradient ? *cell_gradient + through_hidden : through_hidden;
  }
  const at::Tensor total = cell_gradient ? *cell_gradient : at::zeros_like(last_cell);
  at::Tensor gates =
      at::cat({total * cell * in * (1 - in), total * last_cell * forget * (1 - forget),
               total * in * (1 - cell * cell), out_gradient},
              1);
  at::Tensor bias = stack.at(5).toBool() ? gates.sum(0) : at::Tensor();
  replace(stack, std::move(gates), total * forget, std::move(bias));
}

// Arguments: input_gates, hidden_gates, hx, input_bias, hidden_bias.
void gru_cell(torch::jit::Stack& stack, const at::Generator&) {
  const std::vector<at::Tensor> input = with_bias(stack.at(0), stack.at(3)).chunk(3, 1);
  const std::vector<at::Tensor> hidden = with_bias(stack.at(1), stack.at(4)).chunk(3, 1);
  const at::Tensor last = stack.at(2).toTensor();
  const at::Tensor reset = (input.at(0) + hidden.at(0)).sigmoid();
  const at::Tensor update = (input.at(1) + hidden.at(1)).sigmoid();
  const at::Tensor fresh = (input.at(2) + reset * hidden.at(2)).tanh();
  at::Tensor next = fresh + update * (last - fresh);
  replace(stack, std::move(next), at::cat({reset, update, fresh, last, hidden.at(2)}, 1));
}

// Arguments: grad_hy, workspace, has_bias.
void gru_cell_backward(torch::jit::Stack& stack, const at::Generator&) {
  const at::Tensor gradient = stack.at(0).toTensor();
  const std::vector<at::Tensor> parts = stack.at(1).toTensor().chunk(5, 1);
  const at::Tensor &reset = parts.at(0), &update = parts.at(1), &fresh = parts.at(2),
                   &last = parts.at(3);
  const at::Tensor fresh_gradient = gradient * (1 - update) * (1 - fresh * fresh);
  const at::Tensor update_gradient = gradient * (last - fresh) * (1 - update) * update;
  const at::Tensor reset_gradient = fresh_gradient * parts.at(4) * (1 - reset) * reset;
  at::Tensor input = at::cat({reset_gradient, update_gradient, fresh_gradient}, 1);
  at::Tensor hidden = at::cat({reset_gradient, update_gradient, fresh_gradient * reset}, 1);
  const bool has_bias = stack.at(2).toBool();
  at::Tensor input_bias = has_bias ? input.sum(0) : at::Tensor();
  at::Tensor hidden_bias = has_bias ? hidden.sum(0) : at::Tensor();
  replace(stack, std::move(input), std::move(hidden), gradient * update, std::move(input_bias),
          std::move(hidden_bias));
}

}  // namespace torch_remote::executor::libtorch
