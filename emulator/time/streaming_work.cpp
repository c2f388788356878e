// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Kernels that read and write each element once: elementwise operators, fills, copies, random
// numbers, concatenation, and those over lists of tensors.
#include "emulator/time/streaming_work.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "emulator/time/kernel_duration.h"

namespace torch_remote::emulator {
namespace {

using protocol::TensorLayout;

double sum_of_bytes(const std::vector<const TensorLayout*>& layouts) {
  double sum = 0;
  for (const TensorLayout* layout : layouts) sum += distinct_bytes(*layout);
  return sum;
}

// Operators that overwrite their first argument without a look at it.
bool ignores_old_values(OperatorKind kind) {
  return kind == OperatorKind::kFill || kind == OperatorKind::kRandom ||
         kind == OperatorKind::kCopy;
}

// Double precision runs at the rate of its units, which most cards have few of.
double precision_factor(const TensorLayout& layout, const WorkContext& context) {
  if (layout.dtype != kDoubleType && layout.dtype != kComplexDoubleType) return 1;
  const double fp32 = context.gpu.peak.fp32.value_or(1);
  return fp32 / context.gpu.peak.fp64.value_or(fp32 / 64) / 2;
}

struct Traffic {
  double read_bytes = 0;
  double written_bytes = 0;
  double elements = 0;
  bool is_flat = true;         // all tensors lie alike, so that accesses can be vectorised
  bool is_transposed = false;  // some tensor's neighbours are far apart in the result's order
};

Traffic traffic(const StreamingOperator& op) {
  Traffic result;
  const TensorLayout* made = result_layout(op.tensors);
  if (made == nullptr) {
    result.read_bytes = sum_of_bytes(op.tensors.read);
    for (const TensorLayout* layout : op.tensors.read)
      result.elements = std::max(result.elements, element_count(*layout));
    return result;
  }
  result.elements = element_count(*made);
  result.written_bytes = sum_of_bytes(op.tensors.outputs) + sum_of_bytes(op.tensors.written);
  result.read_bytes = sum_of_bytes(op.tensors.read);
  const bool is_in_place = op.planned.name.ends_with('_');
  if (is_in_place && !ignores_old_values(op.row.kind))
    result.read_bytes += sum_of_bytes(op.tensors.written);
  for (const TensorLayout* layout : op.tensors.read) {
    if (element_count(*layout) <= 1) continue;
    if (have_same_order(*layout, *made)) continue;
    result.is_flat = false;
    if (layout->sizes.size() != made->sizes.size()) continue;
    const std::size_t inner = innermost_dimension(*made);
    if (layout->sizes[inner] > 1 && layout->strides[inner] > 1 &&
        innermost_dimension(*layout) != inner && layout->strides[innermost_dimension(*layout)] == 1)
      result.is_transposed = true;
  }
  if (!is_dense(*made)) result.is_flat = false;
  return result;
}

KernelWork streaming_kernel(const StreamingOperator& op, std::string_view name,
                            KernelClass kernel_class, double cycles) {
  const Calibration& c = op.context.calibration;
  const Traffic t = traffic(op);
  const TensorLayout* made = result_layout(op.tensors);
  KernelWork work{.name = name,
                  .kernel_class = kernel_class,
                  .launches = op.row.launches,
                  .read_bytes = t.read_bytes * op.row.reads,
                  .written_bytes = t.written_bytes * op.row.writes};
  cycles *= op.row.arithmetic;
  if (made != nullptr) cycles *= precision_factor(*made, op.context);
  if (!t.is_flat)
    cycles = std::max(cycles, t.is_transposed ? c.transposed_cycles : c.strided_cycles);
  work.streaming = {.elements = t.elements, .cycles_per_element = cycles};
  if (!t.is_flat) work.extra_us = c.strided_extra_us;
  return work;
}

}  // namespace

Works elementwise_work(const StreamingOperator& op) {
  return {streaming_kernel(op, "elementwise", KernelClass::kElementwise,
                           op.context.calibration.elementwise_cycles)};
}

Works fill_work(const StreamingOperator& op) {
  KernelWork work =
      streaming_kernel(op, "fill", KernelClass::kElementwise, op.context.calibration.fill_cycles);
  work.read_bytes = 0;
  return {work};
}

Works random_work(const StreamingOperator& op) {
  return {streaming_kernel(op, "random numbers", KernelClass::kRandom,
                           op.context.calibration.random_cycles)};
}

Works copy_work(const StreamingOperator& op) {
  return {streaming_kernel(op, "copy", KernelClass::kCopy, op.context.calibration.fill_cycles)};
}

Works concatenation_work(const StreamingOperator& op) {
  KernelWork work = streaming_kernel(op, "concatenation", KernelClass::kCopy,
                                     op.context.calibration.concatenation_cycles);
  work.read_bytes = std::min(work.read_bytes, work.written_bytes);
  // The pieces differ in shape from the whole, but each is copied as it lies.
  work.streaming.cycles_per_element = op.context.calibration.concatenation_cycles;
  work.extra_us = 0;
  return {work};
}

Works foreach_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const std::string_view name = base_name(op.planned.name);
  const bool is_optimizer = op.row.kind == OperatorKind::kFusedOptimizer;
  const bool is_norm = name == "_foreach_norm";
  const bool is_in_place = op.planned.name.ends_with('_');
  double bytes = sum_of_bytes(op.tensors.read);
  double elements = 0;
  double tensors = 0;
  for (const auto* list : {&op.tensors.read, &op.tensors.written, &op.tensors.outputs}) {
    tensors = std::max(tensors, static_cast<double>(list->size()));
    double count = 0;
    for (const TensorLayout* layout : *list) count += element_count(*layout);
    elements = std::max(elements, count);
  }
  double written = sum_of_bytes(op.tensors.outputs) + sum_of_bytes(op.tensors.written);
  if (is_in_place) bytes += sum_of_bytes(op.tensors.written);
  // Each launch takes a limited number of tensors and of pieces of 65536 elements.
  const double launches = std::max({1.0, std::ceil(tensors / c.foreach_tensors_per_launch),
                                    std::ceil(elements / (c.foreach_elements_per_launch * 1e6))});
  KernelWork work{
      .name = is_optimizer ? "fused optimizer" : "elementwise over a list",
      .kernel_class = is_optimizer ? KernelClass::kOptimizer : KernelClass::kElementwise,
      .launches = launches,
      .read_bytes = bytes,
      .written_bytes = is_norm ? 0 : written,
      .bandwidth_share = c.foreach_bandwidth_share,
      .streaming = {.elements = elements, .cycles_per_element = c.elementwise_cycles},
      .extra_us = launches * c.foreach_extra_us};
  Works works{work};
  if (is_norm) works.push_back({.name = "reduction", .kernel_class = KernelClass::kReduction});
  return works;
}

Works gather_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* made = result_layout(op.tensors);
  if (made == nullptr) return {};
  // Rows are read as often as they are picked; the whole table is not.
  double index_bytes = 0;
  for (std::size_t i = 1; i < op.tensors.read.size(); ++i)
    index_bytes += distinct_bytes(*op.tensors.read[i]);
  const double bytes = distinct_bytes(*made);
  return {{.name = "gather",
           .kernel_class = KernelClass::kIndexing,
           .read_bytes = bytes + std::min(index_bytes, 8 * element_count(*made)),
           .written_bytes = bytes,
           .bandwidth_share = c.gather_bandwidth_share,
           .streaming = {.elements = element_count(*made), .cycles_per_element = c.gather_cycles}}};
}

Works scatter_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* made = result_layout(op.tensors);
  if (made == nullptr) return {};
  // The last argument holds what is added; the rows that it meets are read and written.
  const TensorLayout* source = op.tensors.read.empty() ? made : op.tensors.read.back();
  double source_bytes = distinct_bytes(*source);
  const double elements = element_count(*source);
  Works works;
  if (!op.tensors.outputs.empty()) works.push_back(layout_change(*made, op.context));
  const double size_factor = element_size_bytes(*made) < 4 ? c.scatter_half_factor : 1;
  works.push_back(
      {.name = "scatter",
       .kernel_class = KernelClass::kIndexing,
       .read_bytes = 2 * source_bytes,
       .written_bytes = source_bytes,
       .streaming = {.elements = elements, .cycles_per_element = c.scatter_cycles * size_factor},
       .extra_us = c.scatter_extra_us});
  return works;
}

}  // namespace torch_remote::emulator
