// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// cuDNN's recurrent networks (ATen/native/cudnn/RNN.cpp): results, weights copied into one buffer
// where they aren't in one, a workspace for the call, and what is kept for the backward.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "core/protocol/recurrent_network.h"
#include "core/protocol/tensor_layout.h"
#include "emulator/gpu_model.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/memory_rules.h"
#include "emulator/workspace/memory_script.h"
#include "emulator/workspace/recurrent_workspace.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::RecurrentNetwork;
using protocol::TensorLayout;

constexpr std::size_t kState = 4, kForwardMode = 6, kBackwardMode = 10;

// cuDNN wants [steps, batch, width]: bytes of the copy of a tensor that isn't so in memory.
std::uint64_t copied_bytes(const TensorLayout* tensor, bool is_transposed) {
  if (tensor == nullptr || element_count(*tensor) == 0) return 0;
  TensorLayout ordered = *tensor;
  if (is_transposed && ordered.sizes.size() == 3) {
    std::swap(ordered.sizes[0], ordered.sizes[1]);
    std::swap(ordered.strides[0], ordered.strides[1]);
  }
  return is_contiguous(ordered) ? 0 : size_bytes(ordered);
}

bool is_transposed(const CallView& call, std::size_t mode) {
  return call.boolean(mode + 4, false) && call.integers(mode + 8).empty();
}

std::uint64_t workspace_bytes(const CallView& call, std::size_t mode) {
  const RecurrentNetwork network = read_recurrent_network(call, kState, mode);
  if (network.row_count == 0) return 0;
  return recurrent_workspace_bytes(network, call.tensor(0)->dtype, call.boolean(mode + 6, true));
}

// (input, weight, weight_stride0, weight_buf, hx, cx, mode, hidden_size, proj_size, num_layers,
// batch_first, dropout, train, bidirectional, batch_sizes, dropout_state) -> (output, hy, cy,
// reserve, weight_buf)
void forward(const RuleContext& context, ScriptWriter& script) {
  const CallView& call = context.call;
  const std::uint32_t input =
      script.allocate(copied_bytes(call.tensor(0), is_transposed(call, kForwardMode)));
  for (const std::uint32_t number : {0U, 1U, 2U, 4U}) script.output(number);
  const std::uint32_t workspace = script.allocate(workspace_bytes(call, kForwardMode));
  script.output(3);
  script.free(workspace);
  script.free(input);
}

// (input, weight, weight_stride0, weight_buf, hx, cx, output, grad_output, grad_hy, grad_cy, mode,
// ...) -> (grad_input, grad_hx, grad_cx, grad_weights), of which the last are views of one buffer.
void backward(const RuleContext& context, ScriptWriter& script) {
  const CallView& call = context.call;
  const bool transposed = is_transposed(call, kBackwardMode);
  const RecurrentNetwork network = read_recurrent_network(call, kState, kBackwardMode);
  const auto zeros_for = [&](std::size_t gradient, std::size_t result) {
    const TensorLayout* like = call.tensor(result);
    const bool is_missing = call.tensor(gradient) == nullptr && like != nullptr;
    return script.allocate(is_missing ? size_bytes(*like) : 0);
  };
  const std::uint32_t output_zeros = zeros_for(7, 6), state_zeros = zeros_for(8, kState),
                      cell_zeros = zeros_for(9, kState + 1);
  const std::uint64_t workspace = workspace_bytes(call, kBackwardMode);
  const std::uint64_t input_copy = copied_bytes(call.tensor(0), transposed);

  const std::uint32_t input = script.allocate(input_copy);
  const std::uint32_t gradient = script.allocate(copied_bytes(call.tensor(7), transposed));
  std::uint32_t next = 0;
  script.output(next++);
  script.output(next++);
  if (call.tensor(kState + 1) != nullptr) script.output(next++);
  script.scratch(workspace);
  script.free(gradient);
  script.free(input);

  if (next < call.output_count()) {
    const std::uint32_t again = script.allocate(input_copy);
    script.sized_output(next++, weight_element_count(network) * network.element_size_bytes);
    while (next < call.output_count()) script.sized_output(next++, 0);
    script.scratch(workspace);
    script.free(again);
  }
  script.free(cell_zeros);
  script.free(state_zeros);
  script.free(output_zeros);
}

// The generators of 1024 threads a multiprocessor, 48 bytes each: 6,488,064 bytes, as an H100 and
// an H200 were asked for them.
void dropout_state(const RuleContext& context, ScriptWriter& script) {
  constexpr std::uint64_t kThreads = 1024, kGeneratorBytes = 48;
  script.sized_output(
      0, static_cast<std::uint64_t>(context.gpu.multiprocessor_count) * kThreads * kGeneratorBytes);
}

constexpr std::array kRules = std::to_array<NamedRule>({
    {"_cudnn_rnn", forward},
    {"_cudnn_rnn_backward", backward},
    {"_cudnn_init_dropout_state", dropout_state},
});

}  // namespace

std::span<const NamedRule> recurrent_rules() { return kRules; }

}  // namespace torch_remote::emulator::workspace
