// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Reductions: the staging memory of blocks that share an output (reduction_staging.h), and the
// operators that are made of several on CUDA.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/protocol/tensor_layout.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/memory_rules.h"
#include "emulator/workspace/memory_script.h"
#include "emulator/workspace/reduction_staging.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::TensorLayout;

// A value with its index, and a running variance in float: four fields of four bytes, or a value of
// up to eight and an index. In double each twice as much.
constexpr std::uint64_t kPairBytes = 16;
constexpr std::uint64_t kWelfordBytes = 16;
constexpr std::uint64_t kWelfordDoubleBytes = 32;

void stage(const RuleContext& context, const TensorLayout& layout,
           std::span<const std::int64_t> dimensions, const Reduction& reduction,
           ScriptWriter& script) {
  const ReductionStaging staging = reduction_staging(layout, dimensions, reduction, context.gpu);
  const std::uint32_t parts = script.allocate(staging.parts_bytes);
  const std::uint32_t semaphores = script.allocate(staging.semaphores_bytes);
  script.free(semaphores);
  script.free(parts);
}

std::uint64_t accumulator_bytes(const RuleContext& context, const TensorLayout& layout) {
  // Integers and booleans are added up as what comes out, int64 mostly.
  const TensorLayout* output = context.call.result(0);
  if (is_floating(layout.dtype) || is_complex(layout.dtype) || output == nullptr)
    return accumulation_size_bytes(layout.dtype);
  return protocol::data_type_size_bytes(output->dtype);
}

// (self), or (self, dim, ...): sums, means, norms, products.
template <std::size_t kDimensions>
void sum_like(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  script.outputs();
  if (input == nullptr) return;
  const std::vector<std::int64_t> dimensions =
      kDimensions == 0 ? std::vector<std::int64_t>() : context.call.integers(kDimensions);
  stage(context, *input, dimensions, {.accumulator_size_bytes = accumulator_bytes(context, *input)},
        script);
}

void sum_of_all(const RuleContext& context, ScriptWriter& script) { sum_like<0>(context, script); }
void sum_over(const RuleContext& context, ScriptWriter& script) { sum_like<1>(context, script); }
void norm_over(const RuleContext& context, ScriptWriter& script) { sum_like<2>(context, script); }

// max and min: a value alone without a dimension, else a value with its index.
void extremum(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  script.outputs();
  if (input == nullptr) return;
  const std::vector<std::int64_t> dimensions = context.call.integers(1);
  const std::uint64_t accumulator =
      dimensions.empty() ? protocol::data_type_size_bytes(input->dtype) : kPairBytes;
  stage(context, *input, dimensions, {.accumulator_size_bytes = accumulator}, script);
}

void index_of_extremum(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  script.outputs();
  if (input == nullptr) return;
  stage(context, *input, context.call.integers(1), {.accumulator_size_bytes = kPairBytes}, script);
}

void extremum_values(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  script.outputs();
  if (input == nullptr) return;
  stage(context, *input, context.call.integers(1),
        {.accumulator_size_bytes = protocol::data_type_size_bytes(input->dtype)}, script);
}

void all_or_any(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  script.outputs();
  if (input == nullptr) return;
  stage(context, *input, context.call.integers(1), {.accumulator_size_bytes = 1}, script);
}

void variance(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  script.outputs();
  if (input == nullptr) return;
  const bool is_double = input->dtype == kFloat64;
  stage(context, *input, context.call.integers(1),
        {.accumulator_size_bytes = is_double ? kWelfordDoubleBytes : kWelfordBytes,
         .values_under_way = 2},
        script);
}

// ATen/native/ReduceOps.cpp, logsumexp_out_impl: the maxima, those that are infinite put to zero,
// the exponentials of the differences, and their sum.
void log_sum_exp(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  const TensorLayout* output = context.call.result(0);
  if (input == nullptr || output == nullptr) return;
  const std::vector<std::int64_t> dimensions = context.call.integers(1);
  const std::uint64_t maxima_bytes = size_bytes(*output);
  const Reduction reduction{.accumulator_size_bytes = accumulation_size_bytes(input->dtype)};
  const std::uint32_t maxima = script.allocate(maxima_bytes);
  stage(context, *input, dimensions,
        {.accumulator_size_bytes = protocol::data_type_size_bytes(input->dtype)}, script);
  const std::uint32_t magnitudes = script.allocate(maxima_bytes);
  script.scratch(element_count(*output));
  script.free(magnitudes);
  const std::uint32_t exponentials = script.allocate(size_bytes(*input));
  script.output(0);
  stage(context, *input, dimensions, reduction, script);
  script.free(exponentials);
  script.free(maxima);
}

// mse_loss(self, target, reduction) and its like: the result is first made for the losses of the
// elements and keeps their memory, and the losses are made beside it (ATen/native/BinaryOps.cpp and
// PointwiseOps.cpp, their meta functions).
void loss_of_elements(const RuleContext& context, ScriptWriter& script) {
  constexpr std::int64_t kNoReduction = 0, kMean = 1;
  const TensorLayout* input = context.call.tensor(0);
  if (input == nullptr || context.call.integer(2, kMean) == kNoReduction) return;
  script.sized_output(0, size_bytes(*input));
  const std::uint32_t losses = script.allocate(size_bytes(*input));
  stage(context, *input, {}, {.accumulator_size_bytes = accumulation_size_bytes(input->dtype)},
        script);
  script.free(losses);
}

constexpr std::array kRules = std::to_array<NamedRule>({
    {"sum", sum_of_all},
    {"sum.dim_IntList", sum_over},
    {"nansum", sum_over},
    {"mean", sum_of_all},
    {"mean.dim", sum_over},
    {"prod", sum_of_all},
    {"prod.dim_int", sum_over},
    {"norm.ScalarOpt_dim", norm_over},
    {"norm.ScalarOpt_dim_dtype", norm_over},
    {"linalg_vector_norm", norm_over},
    {"max", extremum},
    {"max.dim", extremum},
    {"min", extremum},
    {"min.dim", extremum},
    {"amax", extremum_values},
    {"amin", extremum_values},
    {"argmax", index_of_extremum},
    {"argmin", index_of_extremum},
    {"all", all_or_any},
    {"all.dim", all_or_any},
    {"all.dims", all_or_any},
    {"any", all_or_any},
    {"any.dim", all_or_any},
    {"any.dims", all_or_any},
    {"var.correction", variance},
    {"std.correction", variance},
    {"var_mean.correction", variance},
    {"std_mean.correction", variance},
    {"logsumexp", log_sum_exp},
    {"mse_loss", loss_of_elements},
    {"smooth_l1_loss", loss_of_elements},
});

}  // namespace

std::span<const NamedRule> reduction_rules() { return kRules; }

}  // namespace torch_remote::emulator::workspace
