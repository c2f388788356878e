// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Kernels that bring rows down to few numbers, and those of images, which read neighbourhoods.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "emulator/time/streaming_work.h"

namespace torch_remote::emulator {
namespace {

using protocol::TensorLayout;

const TensorLayout* largest(const std::vector<const TensorLayout*>& layouts) {
  const TensorLayout* best = nullptr;
  for (const TensorLayout* layout : layouts) {
    if (best == nullptr || element_count(*layout) > element_count(*best)) best = layout;
  }
  return best;
}

bool is_backward(const StreamingOperator& op) {
  return op.planned.name.find("backward") != std::string_view::npos;
}

double last_size(const TensorLayout& layout) {
  return layout.sizes.empty() ? 1 : static_cast<double>(layout.sizes.back());
}

}  // namespace

Works reduction_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* input = largest(op.tensors.read);
  if (input == nullptr) input = largest(op.tensors.written);
  const TensorLayout* made = result_layout(op.tensors);
  if (input == nullptr || made == nullptr) return {};
  const double elements = element_count(*input);
  const double results = std::max(1.0, element_count(*made));
  double read_bytes = 0;
  for (const TensorLayout* layout : op.tensors.read) read_bytes += distinct_bytes(*layout);
  const double row = elements / results;
  // max(dim), var_mean and the like return two tensors and carry more in each step.
  const double arithmetic =
      op.tensors.outputs.size() > 1 ? std::max(2.0, op.row.arithmetic) : op.row.arithmetic;
  KernelWork work{
      .name = "reduction",
      .kernel_class = KernelClass::kReduction,
      .read_bytes = read_bytes * op.row.reads,
      .written_bytes = distinct_bytes(*made),
      .bandwidth_share = c.reduction_bandwidth_share,
      .streaming = {.elements = elements, .cycles_per_element = c.reduction_cycles * arithmetic},
      .extra_us = c.reduction_extra_us};
  Works works{work};
  // Few long rows: their pieces meet in a second stage, which needs cleared counters.
  if (row > c.reduction_split_row && results < 4 * op.context.gpu.multiprocessor_count) {
    works.back().extra_us += c.reduction_split_us;
    works.push_back({.name = "fill", .kernel_class = KernelClass::kElementwise});
  }
  return works;
}

Works normalization_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* input = largest(op.tensors.read);
  const TensorLayout* made = largest(op.tensors.outputs);
  if (made == nullptr) made = largest(op.tensors.written);
  if (input == nullptr || made == nullptr) return {};
  const std::string_view name = base_name(op.planned.name);
  const bool is_softmax = name.find("softmax") != std::string_view::npos;
  const bool is_gradient = name.ends_with("backward") || name.ends_with("backward_data");
  const double elements = element_count(*input);
  double row = last_size(*input);
  if (name.starts_with("native_group_norm") && input->sizes.size() > 1) {
    const double groups = result_layout(op.tensors) != nullptr && op.tensors.outputs.size() > 1
                              ? element_count(*op.tensors.outputs[1])
                              : static_cast<double>(input->sizes[0]);
    row = elements / std::max(1.0, groups);
  }
  // A group norm's gradients are computed channel by channel, so that rows are plenty.
  const bool has_rows =
      op.row.kind != OperatorKind::kLayerNormBackward || !name.starts_with("native_group_norm");
  const double rows = has_rows ? elements / std::max(1.0, row) : 0;
  double read_bytes = 0;
  for (const TensorLayout* layout : op.tensors.read) read_bytes += distinct_bytes(*layout);
  // Rows that don't fit registers and shared memory are read again.
  const bool is_long =
      has_rows && row * element_size_bytes(*input) >
                      c.row_kept_share * static_cast<double>(
                                             op.context.gpu.shared_memory_per_multiprocessor_bytes);
  const double passes = is_long ? (is_softmax && !is_gradient ? 3 : 2) : 1;
  double cycles = is_softmax    ? c.softmax_cycles
                  : is_gradient ? c.norm_backward_cycles
                                : c.norm_cycles;
  if (is_softmax && is_gradient) cycles = c.softmax_backward_cycles;
  KernelWork work{
      .name = is_softmax ? "softmax" : "norm",
      .kernel_class = KernelClass::kNormalization,
      .launches = op.row.launches,
      .read_bytes = read_bytes * std::max(passes, op.row.reads),
      .written_bytes = distinct_bytes(*made),
      .bandwidth_share = c.row_bandwidth_share,
      .streaming = {.elements = elements,
                    .cycles_per_element = cycles,
                    .pieces = rows,
                    .pieces_per_multiprocessor = is_softmax ? 1 : c.norm_rows_per_multiprocessor},
      .extra_us = c.row_extra_us};
  Works works{work};
  if (op.row.kind == OperatorKind::kLayerNormBackward && op.tensors.outputs.size() > 1) {
    // The gradients of weight and bias: a sum over the rows.
    works.push_back({.name = "norm, gradients of the weights",
                     .kernel_class = KernelClass::kReduction,
                     .read_bytes = 2 * distinct_bytes(*input),
                     .bandwidth_share = c.norm_weight_bandwidth_share,
                     .streaming = {.elements = elements, .cycles_per_element = c.reduction_cycles},
                     .extra_us = c.norm_weight_extra_us});
  }
  return works;
}

Works batch_norm_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* input = largest(op.tensors.read);
  if (input == nullptr || input->sizes.size() < 2) return {};
  const double elements = element_count(*input);
  const double bytes = distinct_bytes(*input);
  const bool is_gradient = is_backward(op);
  const bool only_scales = op.planned.name.find("no_training") != std::string_view::npos ||
                           (!is_gradient && boolean_argument(op.planned.plan, 0) == false);
  const bool is_inner = is_channels_last(*input);
  if (only_scales) {
    return {{.name = "batch norm",
             .kernel_class = KernelClass::kNormalization,
             .read_bytes = bytes,
             .written_bytes = bytes,
             .streaming = {.elements = elements, .cycles_per_element = c.strided_cycles}}};
  }
  // One pass for the statistics and one that applies them; gradients read two tensors in each.
  const double reads = is_gradient ? 4 : 2;
  KernelWork work{
      .name = "batch norm",
      .kernel_class = KernelClass::kNormalization,
      .read_bytes = reads * bytes,
      .written_bytes = bytes,
      .bandwidth_share = is_inner ? c.batch_norm_channels_last_share : c.batch_norm_share,
      .streaming = {.elements = elements,
                    .cycles_per_element =
                        is_gradient ? c.batch_norm_backward_cycles : c.batch_norm_cycles},
      .extra_us = c.batch_norm_extra_us};
  if (!is_inner) work.streaming.pieces = static_cast<double>(input->sizes[1]);
  return {work};
}

Works loss_work(const StreamingOperator& op) {
  const TensorLayout* made = result_layout(op.tensors);
  const TensorLayout* input = largest(op.tensors.read);
  if (made == nullptr || input == nullptr) return {};
  // One number of each row is read; the gradient is a tensor of zeros with one number in each row.
  const double rows = element_count(*input) / std::max(1.0, last_size(*input));
  Works works;
  if (is_backward(op)) {
    works.push_back({.name = "fill",
                     .kernel_class = KernelClass::kElementwise,
                     .written_bytes = distinct_bytes(*made)});
  }
  works.push_back({.name = "loss",
                   .kernel_class = KernelClass::kReduction,
                   .extra_us = rows * op.context.calibration.loss_row_us});
  return works;
}

Works image_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* made = result_layout(op.tensors);
  const TensorLayout* input = largest(op.tensors.read);
  if (made == nullptr || input == nullptr) return {};
  const std::string_view name = base_name(op.planned.name);
  const bool is_gradient = is_backward(op);
  const bool is_pooling = op.row.kind == OperatorKind::kPooling;
  double written = 0, elements = 0;
  for (const TensorLayout* layout : op.tensors.outputs) written += distinct_bytes(*layout);
  double read = 0;
  for (const TensorLayout* layout : op.tensors.read) read += distinct_bytes(*layout);
  elements = std::max(element_count(*made), is_gradient ? element_count(*input) : 0.0);
  double taps = 1;
  if (const auto* window = integer_list(op.planned.plan, 0); is_pooling && window != nullptr &&
                                                             !name.starts_with("adaptive") &&
                                                             !name.starts_with("_adaptive")) {
    for (const std::int64_t size : *window) taps *= static_cast<double>(size);
  }
  const bool is_bilinear = name.find("linear") != std::string_view::npos ||
                           name.find("cubic") != std::string_view::npos ||
                           name.starts_with("grid_sampler");
  double cycles = is_pooling    ? c.pooling_cycles + taps * c.pooling_tap_cycles
                  : is_bilinear ? c.bilinear_cycles
                                : c.nearest_cycles;
  if (is_gradient) cycles *= is_pooling ? c.pooling_backward_factor : c.resampling_backward_factor;
  KernelWork work{.name = is_pooling ? "pooling" : "resampling",
                  .kernel_class = KernelClass::kImage,
                  .launches = op.row.launches,
                  .read_bytes = read,
                  .written_bytes = written,
                  .streaming = {.elements = elements, .cycles_per_element = cycles},
                  .extra_us = c.image_extra_us};
  // A thread of these interpolates one place of the image in all channels, one after the other.
  if (is_bilinear && !is_gradient && !is_channels_last(*input) && input->sizes.size() == 4)
    work.extra_us += static_cast<double>(input->sizes[0] * input->sizes[1]) * c.bilinear_channel_us;
  Works works{work};
  if (is_gradient) {
    works.push_back({.name = "fill",
                     .kernel_class = KernelClass::kElementwise,
                     .written_bytes = distinct_bytes(*made)});
  }
  return works;
}

}  // namespace torch_remote::emulator
