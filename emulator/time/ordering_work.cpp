// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Kernels whose order matters: scans, sorts, selections, accumulation by index; and libraries' long
// sequences of kernels (Fourier transforms, factorisations).
#include <algorithm>
#include <cmath>
#include <string_view>

#include "emulator/time/streaming_work.h"

namespace torch_remote::emulator {
namespace {

using protocol::TensorLayout;

const TensorLayout* first_input(const StreamingOperator& op) {
  if (!op.tensors.read.empty()) return op.tensors.read.front();
  return result_layout(op.tensors);
}

// The dimension that an operator works along: its first fixed integer, as all of these have it.
std::size_t dimension(const StreamingOperator& op, const TensorLayout& input,
                      std::size_t position) {
  const auto rank = static_cast<std::int64_t>(input.sizes.size());
  std::int64_t dim = integer_argument(op.planned.plan, position).value_or(-1);
  if (dim < 0) dim += rank;
  return dim >= 0 && dim < rank ? static_cast<std::size_t>(dim)
                                : static_cast<std::size_t>(std::max<std::int64_t>(rank - 1, 0));
}

double row_length(const TensorLayout& layout, std::size_t dim) {
  return layout.sizes.empty() ? 1 : std::max(1.0, static_cast<double>(layout.sizes[dim]));
}

KernelWork radix_sort(double elements, double key_bytes, double value_bytes, const Calibration& c) {
  // Eight bits of the key a pass: keys and values are read and written.
  const double passes = key_bytes;
  const double bytes = elements * (key_bytes + value_bytes);
  return {.name = "radix sort",
          .kernel_class = KernelClass::kSort,
          .launches = passes + 2,
          .read_bytes = passes * bytes + elements * key_bytes,
          .written_bytes = passes * bytes,
          .footprint_bytes = 2 * bytes,
          .bandwidth_share = c.sort_bandwidth_share,
          .streaming = {.elements = elements, .cycles_per_element = passes * c.sort_pass_cycles},
          .extra_us = (passes + 2) * c.sort_pass_us};
}

}  // namespace

Works scan_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* input = first_input(op);
  if (input == nullptr || input->sizes.empty()) return {};
  const std::size_t dim = dimension(op, *input, 0);
  const double elements = element_count(*input);
  const double row = row_length(*input, dim);
  const double rows = elements / row;
  KernelWork work{.name = "scan",
                  .kernel_class = KernelClass::kScan,
                  .read_bytes = distinct_bytes(*input),
                  .written_bytes = distinct_bytes(*input)};
  if (rows == 1) {
    work.launches = 2;
    work.bandwidth_share = c.scan_bandwidth_share;
  } else if (dim + 1 == input->sizes.size()) {
    work.streaming = {.elements = elements,
                      .cycles_per_element = c.scan_row_cycles,
                      .pieces = rows,
                      .pieces_per_multiprocessor = c.scan_rows_per_multiprocessor};
    work.extra_us = c.scan_row_extra_us;
  } else {
    // One thread walks along each column.
    work.extra_us = row * c.scan_column_step_us;
    work.streaming = {.elements = elements, .cycles_per_element = c.scan_column_cycles};
  }
  return {work};
}

Works sort_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* input = first_input(op);
  if (input == nullptr) return {};
  const double elements = element_count(*input);
  const double key_bytes = std::max(1.0, element_size_bytes(*input));
  const double row = row_length(*input, dimension(op, *input, 0));
  Works works;
  if (op.row.kind == OperatorKind::kSort && elements / row > 1 && row <= c.sort_block_row) {
    // Rows that a block sorts by itself, beside copies of keys and indices.
    works.push_back(layout_change(*input, op.context));
    works.push_back(
        {.name = "sort of rows",
         .kernel_class = KernelClass::kSort,
         .launches = 3,
         .read_bytes = elements * (key_bytes + 8),
         .written_bytes = elements * (key_bytes + 8),
         .streaming = {.elements = elements, .cycles_per_element = c.sort_row_cycles * key_bytes},
         .extra_us = c.sort_row_us});
    return works;
  }
  works.push_back(
      {.name = "indices", .kernel_class = KernelClass::kSort, .written_bytes = 8 * elements});
  works.push_back(radix_sort(elements, key_bytes, 8, c));
  return works;
}

Works topk_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* input = first_input(op);
  if (input == nullptr || input->sizes.empty()) return {};
  const double elements = element_count(*input);
  const double row = row_length(*input, dimension(op, *input, 1));
  const double key_bytes = element_size_bytes(*input);
  if (elements <= c.topk_single_elements * 1e3) {
    return {{.name = "top k",
             .kernel_class = KernelClass::kSort,
             .launches = 2,
             .extra_us = c.topk_single_us + row * c.topk_single_element_us}};
  }
  // Eight bits of the key a pass over all elements, then a pass that collects.
  return {
      {.name = "top k",
       .kernel_class = KernelClass::kSort,
       .launches = 5 * key_bytes,
       .read_bytes = (key_bytes + 1) * distinct_bytes(*input),
       .footprint_bytes = distinct_bytes(*input),
       .streaming = {.elements = elements, .cycles_per_element = key_bytes * c.topk_pass_cycles},
       .extra_us = key_bytes * c.topk_pass_us}};
}

Works sorted_scatter_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* made = result_layout(op.tensors);
  if (made == nullptr || made->sizes.empty()) return {};
  double index_count = 0, source_bytes = 0;
  for (const TensorLayout* layout : op.tensors.read) {
    if (element_size_bytes(*layout) == 8 && layout->dtype != kDoubleType)
      index_count = std::max(index_count, element_count(*layout));
    else
      source_bytes = std::max(source_bytes, distinct_bytes(*layout));
  }
  Works works;
  if (!op.tensors.outputs.empty()) {
    works.push_back({.name = "fill",
                     .kernel_class = KernelClass::kElementwise,
                     .written_bytes = distinct_bytes(*made)});
  }
  if (index_count > c.sorted_scatter_from || !op.tensors.written.empty())
    works.push_back(radix_sort(index_count, 8, 8, c));
  works.push_back({.name = "scatter of sorted indices",
                   .kernel_class = KernelClass::kIndexing,
                   .launches = 5,
                   .read_bytes = 2 * source_bytes + 16 * index_count,
                   .written_bytes = source_bytes,
                   .bandwidth_share = c.sorted_scatter_share,
                   .extra_us = c.sorted_scatter_us});
  return works;
}

Works compaction_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* input = first_input(op);
  if (input == nullptr) return {};
  const double elements = element_count(*input);
  if (base_name(op.planned.name).find("unique") != std::string_view::npos) {
    return {radix_sort(elements, element_size_bytes(*input), 8, c),
            {.name = "compaction",
             .kernel_class = KernelClass::kIndexing,
             .launches = 4,
             .read_bytes = 2 * distinct_bytes(*input),
             .written_bytes = distinct_bytes(*input)}};
  }
  // Counts, then writes indices of the half that is there, at a guess.
  const double rank = static_cast<double>(input->sizes.size());
  return {{.name = "compaction",
           .kernel_class = KernelClass::kIndexing,
           .launches = 5,
           .read_bytes = 2 * distinct_bytes(*input),
           .written_bytes = 4 * elements * std::max(1.0, rank),
           .streaming = {.elements = elements, .cycles_per_element = c.compaction_cycles}}};
}

Works transform_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* input = first_input(op);
  const TensorLayout* made = result_layout(op.tensors);
  if (input == nullptr || made == nullptr) return {};
  const auto* dims = integer_list(op.planned.plan, 0);
  const double passes =
      dims != nullptr ? std::max<double>(1, static_cast<double>(dims->size())) : 1;
  const double bytes = std::max(distinct_bytes(*input), distinct_bytes(*made));
  const double elements = element_count(*made);
  return {{.name = "Fourier transform",
           .kernel_class = KernelClass::kTransform,
           .launches = passes,
           .read_bytes = passes * bytes,
           .written_bytes = passes * bytes,
           .bandwidth_share = c.transform_bandwidth_share,
           .streaming = {.elements = elements * passes * std::log2(std::max(2.0, elements)),
                         .cycles_per_element = c.transform_cycles}}};
}

Works linear_algebra_work(const StreamingOperator& op) {
  const Calibration& c = op.context.calibration;
  const TensorLayout* input = first_input(op);
  if (input == nullptr || input->sizes.size() < 2) return {};
  const std::string_view name = base_name(op.planned.name);
  const double n = row_length(*input, input->sizes.size() - 1);
  const double rows = row_length(*input, input->sizes.size() - 2);
  const double smaller = std::min(n, rows);
  const double batch = element_count(*input) / (n * rows);
  // Factorisations go column by column, each step waiting for the last; then there are the
  // products.
  const bool is_iterative =
      name.find("eig") != std::string_view::npos || name.find("svd") != std::string_view::npos;
  const double steps_us = smaller * (is_iterative ? c.eigenvalue_column_us : c.factor_column_us);
  Product product{.batch = batch, .m = rows, .n = n, .k = smaller * (is_iterative ? 9 : 1)};
  product.unit = math_unit(input->dtype, false);
  product.operand_size_bytes = element_size_bytes(*input);
  product.rate_share = 0.5;
  return {{.name = is_iterative ? "eigenvalues" : "factorisation",
           .kernel_class = KernelClass::kLinearAlgebra,
           .launches = std::max(1.0, smaller / 32),
           .read_bytes = distinct_bytes(*input),
           .written_bytes = distinct_bytes(*input),
           .product = product,
           .extra_us = steps_us}};
}

}  // namespace torch_remote::emulator
