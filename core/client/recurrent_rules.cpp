// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The fused cells of recurrent networks exist for accelerators alone, and have no meta functions.
#include <ATen/core/Tensor.h>
#include <cstdint>

#include "core/client/planned_results.h"
#include "core/client/rule_functions.h"

namespace torch_remote::client::rules {

// _thnn_fused_gru_cell(input_gates, hidden_gates, hx, input_bias?, hidden_bias?) -> (hy, workspace)
bool gru_cell(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& hidden = arguments[2].toTensor();
  if (hidden.dim() != 2) return false;
  add_contiguous(plan, hidden.sizes(), hidden.scalar_type());
  add_contiguous(plan, {hidden.size(0), hidden.size(1) * 5}, hidden.scalar_type());
  return true;
}

// _thnn_fused_gru_cell_backward(grad_hy, workspace, has_bias) ->
// (grad_input_gates, grad_hidden_gates, grad_hx, grad_input_bias, grad_hidden_bias)
bool gru_cell_backward(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& gradient = arguments[0].toTensor();
  if (gradient.dim() != 2) return false;
  const std::int64_t width = gradient.size(1) * 3;
  add_contiguous(plan, {gradient.size(0), width}, gradient.scalar_type());
  add_contiguous(plan, {gradient.size(0), width}, gradient.scalar_type());
  add_contiguous(plan, gradient.sizes(), gradient.scalar_type());
  for (int i = 0; i < 2; ++i) {
    if (arguments[2].toBool())
      add_contiguous(plan, {width}, gradient.scalar_type());
    else
      add_undefined(plan);
  }
  return true;
}

// _thnn_fused_lstm_cell(input_gates, hidden_gates, cx, input_bias?, hidden_bias?) -> (hy, cy,
// workspace)
bool lstm_cell(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& cell = arguments[2].toTensor();
  if (cell.dim() != 2) return false;
  add_contiguous(plan, cell.sizes(), cell.scalar_type());
  add_contiguous(plan, cell.sizes(), cell.scalar_type());
  add_contiguous(plan, {cell.size(0), cell.size(1) * 4}, cell.scalar_type());
  return true;
}

// _thnn_fused_lstm_cell_backward_impl(grad_hy?, grad_cy?, cx, cy, workspace, has_bias) ->
// (grad_gates, grad_cx, grad_bias)
bool lstm_cell_backward(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& cell = arguments[2].toTensor();
  const at::Tensor& workspace = arguments[4].toTensor();
  if (cell.dim() != 2 || workspace.dim() != 2) return false;
  add_contiguous(plan, workspace.sizes(), workspace.scalar_type());
  add_contiguous(plan, cell.sizes(), cell.scalar_type());
  if (arguments[5].toBool())
    add_contiguous(plan, {workspace.size(1)}, workspace.scalar_type());
  else
    add_undefined(plan);
  return true;
}

}  // namespace torch_remote::client::rules
