// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Normalizations, softmax and dropout: ATen/native/cuda/{layer_norm_kernel,group_norm_kernel,
// SoftMax,Dropout}.cu.
#include <array>
#include <cstdint>
#include <span>

#include "core/protocol/tensor_layout.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/memory_rules.h"
#include "emulator/workspace/memory_script.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::TensorLayout;

// _softmax_backward_data(grad_output, output, dim, input_dtype): grad times output is made first.
void softmax_backward(const RuleContext& context, ScriptWriter& script) {
  script.outputs();
  const TensorLayout* gradient = context.call.tensor(0);
  if (gradient != nullptr) script.scratch(size_bytes(*gradient));
}

// native_group_norm(input, weight, bias, N, C, HxW, groups, eps): the scale and the shift of each
// channel of each image, in the type that adds up.
void group_norm(const RuleContext& context, ScriptWriter& script) {
  script.outputs();
  const TensorLayout* input = context.call.tensor(0);
  if (input == nullptr || input->sizes.size() < 2) return;
  const std::uint64_t bytes = static_cast<std::uint64_t>(input->sizes[0] * input->sizes[1]) *
                              accumulation_size_bytes(input->dtype);
  const bool has_area = context.call.integer(5, 2) > 1;
  if (!has_area) return;
  const std::uint32_t scale = script.allocate(bytes);
  script.scratch(bytes);
  script.free(scale);
}

// native_group_norm_backward(grad_out, input, mean, rstd, weight, N, C, HxW, groups, mask): the
// sums of each channel of each image, and coefficients of each of its groups and channels.
void group_norm_backward(const RuleContext& context, ScriptWriter& script) {
  script.outputs();
  const TensorLayout* input = context.call.tensor(1);
  const TensorLayout* mean = context.call.tensor(2);
  if (input == nullptr || mean == nullptr || input->sizes.size() < 2) return;
  const std::uint64_t accumulator = accumulation_size_bytes(input->dtype);
  const std::uint64_t by_channel =
      static_cast<std::uint64_t>(input->sizes[0] * input->sizes[1]) * accumulator;
  const std::uint64_t by_group = element_count(*mean) * accumulator;
  const std::uint32_t scaled_sum = script.allocate(by_channel);
  const std::uint32_t sum = script.allocate(by_channel);
  const std::uint32_t second = script.allocate(by_group);
  const std::uint32_t third = script.allocate(by_group);
  const std::uint32_t first = script.allocate(by_channel);
  script.free(third);
  script.free(second);
  script.free(first);
  script.free(sum);
  script.free(scaled_sum);
}

// native_layer_norm(input, normalized_shape, weight, bias, eps) -> (output, mean, rstd): CUDA keeps
// the statistics in the type that adds up, where CPU's kernels keep them in the input's.
void layer_norm(const RuleContext& context, ScriptWriter& script) {
  script.output(0);
  const TensorLayout* input = context.call.tensor(0);
  if (input == nullptr) return;
  for (std::uint32_t i = 1; i <= 2; ++i) {
    const TensorLayout* statistics = context.call.output(i);
    if (statistics == nullptr) return;
    script.sized_output(i, element_count(*statistics) * accumulation_size_bytes(input->dtype));
  }
}

// cuDNN's batch norm in training keeps partial sums of tensors with channels last, by what an H100
// and an H200 showed: of each channel for every 20 pixels forwards, for every 12 backwards.
void scratch_of_channels_last(const TensorLayout& input, std::uint64_t pixels_a_byte,
                              ScriptWriter& script) {
  constexpr std::uint64_t kFixedBytes = 1072, kChannelBytes = 4;
  if (!is_channels_last(input)) return;
  const auto channels = static_cast<std::uint64_t>(input.sizes[1]);
  const std::uint64_t pixels = element_count(input) / channels;
  script.scratch(kFixedBytes + channels * (pixels / pixels_a_byte + kChannelBytes));
}

// native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)
void batch_norm(const RuleContext& context, ScriptWriter& script) {
  script.outputs();
  const TensorLayout* input = context.call.tensor(0);
  if (input != nullptr && context.call.boolean(5, false))
    scratch_of_channels_last(*input, 20, script);
}

// native_batch_norm_backward(grad_out, input, weight, running_mean, running_var, save_mean,
// save_invstd, train, eps, output_mask)
void batch_norm_backward(const RuleContext& context, ScriptWriter& script) {
  script.outputs();
  const TensorLayout* input = context.call.tensor(1);
  if (input != nullptr && context.call.boolean(7, false))
    scratch_of_channels_last(*input, 12, script);
}

// native_dropout(input, p, train) -> (output, mask): the mask comes first (Dropout.cu).
void dropout(const RuleContext& /*context*/, ScriptWriter& script) {
  script.output(1);
  script.output(0);
}

constexpr std::array kRules = std::to_array<NamedRule>({
    {"_softmax_backward_data", softmax_backward},
    {"native_layer_norm", layer_norm},
    {"native_batch_norm", batch_norm},
    {"native_batch_norm_backward", batch_norm_backward},
    {"native_dropout", dropout},
    {"native_group_norm", group_norm},
    {"native_group_norm_backward", group_norm_backward},
});

}  // namespace

std::span<const NamedRule> normalization_rules() { return kRules; }

}  // namespace torch_remote::emulator::workspace
