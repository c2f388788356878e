// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/product_work.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "emulator/time/kernel_duration.h"
#include "emulator/time/operator_class.h"

namespace torch_remote::emulator {
namespace {

using protocol::TensorLayout;

double size(const TensorLayout& layout, std::size_t from_end) {
  const std::size_t rank = layout.sizes.size();
  return from_end < rank ? static_cast<double>(layout.sizes[rank - 1 - from_end]) : 1;
}

// Tensor cores read rows in pieces of 16 bytes.
bool is_aligned(double row_length, double element_size) {
  return std::fmod(row_length * element_size, 16) == 0;
}

// A row's length in memory, whichever of the last two dimensions is the inner one.
double row_length(const TensorLayout& layout) {
  const std::size_t rank = layout.sizes.size();
  if (rank < 2) return size(layout, 0);
  return layout.strides[rank - 1] == 1 ? size(layout, 0) : size(layout, 1);
}

bool adds_first_argument(std::string_view name) {
  return name.starts_with("add") || name.starts_with("badd") || name == "_addmm_activation";
}

}  // namespace

KernelWork layout_change(const TensorLayout& layout, const WorkContext& context) {
  const double bytes = distinct_bytes(layout);
  return {.name = "change of layout",
          .kernel_class = KernelClass::kCopy,
          .read_bytes = bytes,
          .written_bytes = bytes,
          .bandwidth_share = context.calibration.layout_change_share};
}

Works product_work(const PlannedOperator& planned, const OperatorTensors& tensors,
                   const WorkContext& context) {
  const std::size_t first = adds_first_argument(base_name(planned.name)) ? 1 : 0;
  const TensorLayout* result = result_layout(tensors);
  if (tensors.arguments.size() < first + 2 || result == nullptr) return {};
  const TensorLayout& a = *tensors.arguments[first];
  const TensorLayout& b = *tensors.arguments[first + 1];
  const bool is_linear = base_name(planned.name) == "linear";
  const bool has_vector = b.sizes.size() == 1;
  Product product;
  product.k = size(a, 0);
  product.n = has_vector ? 1 : is_linear ? size(b, 1) : size(b, 0);
  product.m = size(a, 1);
  for (std::size_t i = 0; i + 2 < a.sizes.size(); ++i) {
    (is_linear ? product.m : product.batch) *= static_cast<double>(a.sizes[i]);
  }
  product.unit = math_unit(a.dtype, context.settings.allow_tf32_in_products);
  product.operand_size_bytes = element_size_bytes(a);
  product.is_aligned =
      is_aligned(row_length(a), product.operand_size_bytes) &&
      is_aligned(has_vector ? product.k : row_length(b), product.operand_size_bytes) &&
      is_aligned(product.n, product.operand_size_bytes);
  if (a.dtype == kComplexFloatType || a.dtype == kComplexDoubleType) product.k *= 4;
  if (product.m <= 4 || product.n <= 4) product.is_aligned = true;  // kernels for vectors
  KernelWork work{.name = "matrix product",
                  .kernel_class = KernelClass::kProduct,
                  .read_bytes = distinct_bytes(a) + distinct_bytes(b),
                  .written_bytes = distinct_bytes(*result),
                  .bandwidth_share = context.calibration.product_bandwidth_share,
                  .product = product};
  return {work};
}

namespace {

struct ConvolutionShape {
  double batch = 1;
  double channels_in = 1;  // of a group
  double channels_out = 1;
  double groups = 1;
  double taps = 1;
  double positions_in = 1;
  double positions_out = 1;
};

double positions(const TensorLayout& layout) {
  double count = 1;
  for (std::size_t i = 2; i < layout.sizes.size(); ++i)
    count *= static_cast<double>(layout.sizes[i]);
  return count;
}

// Of the plain convolution; a transposed one is the gradient of one, so its ends are exchanged.
ConvolutionShape convolution_shape(const TensorLayout& input, const TensorLayout& weight,
                                   const TensorLayout& output) {
  ConvolutionShape shape;
  shape.batch = static_cast<double>(input.sizes[0]);
  shape.channels_in = static_cast<double>(weight.sizes[1]);
  shape.groups = static_cast<double>(input.sizes[1]) / shape.channels_in;
  shape.channels_out = static_cast<double>(weight.sizes[0]) / shape.groups;
  shape.taps = positions(weight);
  shape.positions_in = positions(input);
  shape.positions_out = positions(output);
  return shape;
}

enum class Pass { kForward, kInputGradient, kWeightGradient };

Product pass_product(const ConvolutionShape& s, Pass pass) {
  Product product{.batch = s.groups};
  switch (pass) {
    case Pass::kForward:
      product.m = s.batch * s.positions_out;
      product.n = s.channels_out;
      product.k = s.channels_in * s.taps;
      break;
    case Pass::kInputGradient:
      product.m = s.batch * s.positions_in;
      product.n = s.channels_in;
      product.k = std::max(1.0, s.channels_out * s.taps * s.positions_out / s.positions_in);
      break;
    case Pass::kWeightGradient:
      product.m = s.channels_out;
      product.n = s.channels_in * s.taps;
      product.k = s.batch * s.positions_out;
      break;
  }
  return product;
}

std::string_view pass_name(Pass pass) {
  return pass == Pass::kForward         ? "convolution"
         : pass == Pass::kInputGradient ? "convolution, gradient of the input"
                                        : "convolution, gradient of the weight";
}

class ConvolutionWork {
 public:
  ConvolutionWork(const TensorLayout& input, const TensorLayout& weight, const TensorLayout& output,
                  const WorkContext& context)
      : input_(input),
        weight_(weight),
        output_(output),
        context_(context),
        shape_(convolution_shape(input, weight, output)),
        unit_(math_unit(input.dtype, context.settings.allow_tf32_in_convolutions)) {}

  void add(Pass pass) {
    if (shape_.channels_in == 1 && shape_.groups > 1) {
      add_depthwise(pass);
      return;
    }
    const bool is_exchanged = needs_layout_change();
    const TensorLayout& result = pass == Pass::kForward         ? output_
                                 : pass == Pass::kInputGradient ? input_
                                                                : weight_;
    for (const TensorLayout* operand : {&input_, &weight_, &output_}) {
      if (is_exchanged && operand != &result) works_.push_back(layout_change(*operand, context_));
    }
    works_.push_back(product_kernel(pass, result));
    if (is_exchanged) works_.push_back(layout_change(result, context_));
  }

  Works take() { return std::move(works_); }

 private:
  // Kernels for tensor cores want the channels innermost.
  bool needs_layout_change() const {
    const bool has_unit = unit_ == MathUnit::kTf32   ? context_.gpu.peak.tf32.has_value()
                          : unit_ == MathUnit::kBf16 ? context_.gpu.peak.bf16.has_value()
                                                     : unit_ == MathUnit::kFp16;
    if (!has_unit || is_channels_last(input_)) return false;
    return shape_.taps > 1 || shape_.positions_in != shape_.positions_out;
  }

  KernelWork product_kernel(Pass pass, const TensorLayout& result) const {
    const Calibration& c = context_.calibration;
    Product product = pass_product(shape_, pass);
    product.unit = unit_;
    product.operand_size_bytes = element_size_bytes(input_);
    product.is_aligned = true;
    const bool is_tensor_core = unit_ != MathUnit::kFp32 && unit_ != MathUnit::kFp64;
    if (is_tensor_core) {
      product.rate_share =
          pass == Pass::kForward ? c.convolution_tensor_share : c.convolution_tensor_gradient_share;
      if (shape_.taps == 1) product.rate_share = 1;
      // Few channels leave most of a tile empty.
      product.rate_share *= std::min(1.0, shape_.channels_in / 16);
    } else {
      product.rate_share =
          pass == Pass::kForward ? c.convolution_fp32_share : c.convolution_fp32_gradient_share;
    }
    return {.name = pass_name(pass),
            .kernel_class = KernelClass::kConvolution,
            .read_bytes = distinct_bytes(input_) + distinct_bytes(weight_) +
                          distinct_bytes(output_) - distinct_bytes(result),
            .written_bytes = distinct_bytes(result),
            .bandwidth_share = c.convolution_bandwidth_share,
            .product = product};
  }

  // One filter a channel: no product, but a sum of few terms for each element.
  void add_depthwise(Pass pass) {
    const Calibration& c = context_.calibration;
    const double terms =
        shape_.batch * shape_.groups * shape_.channels_out * shape_.positions_out * shape_.taps;
    const bool is_inner = is_channels_last(input_) && element_size_bytes(input_) < 4;
    double cycles = is_inner ? c.depthwise_channels_last_cycles : c.depthwise_cycles;
    if (pass == Pass::kInputGradient) cycles *= c.depthwise_input_factor;
    if (pass == Pass::kWeightGradient) cycles *= c.depthwise_weight_factor;
    works_.push_back({.name = pass_name(pass),
                      .kernel_class = KernelClass::kConvolution,
                      .read_bytes = distinct_bytes(input_) + distinct_bytes(weight_),
                      .written_bytes = distinct_bytes(output_),
                      .streaming = {.elements = terms, .cycles_per_element = cycles}});
  }

  const TensorLayout& input_;
  const TensorLayout& weight_;
  const TensorLayout& output_;
  const WorkContext& context_;
  ConvolutionShape shape_;
  MathUnit unit_;
  Works works_;
};

// Adds a bias or sums its gradient: one pass over the output.
KernelWork bias_kernel(const TensorLayout& output, bool is_gradient, const WorkContext& context) {
  const double bytes = distinct_bytes(output);
  return {.name = is_gradient ? "gradient of the bias" : "bias",
          .kernel_class = is_gradient ? KernelClass::kReduction : KernelClass::kElementwise,
          .read_bytes = bytes,
          .written_bytes = is_gradient ? 0 : bytes,
          .streaming = {.elements = element_count(output),
                        .cycles_per_element = context.calibration.strided_cycles}};
}

const std::vector<std::int64_t>* output_mask(const protocol::PlanDefinition& plan) {
  for (const protocol::Argument& argument : plan.arguments) {
    if (argument.kind == protocol::ArgumentKind::kBooleanList) return &argument.integers;
  }
  return nullptr;
}

Works convolution_gradients(const PlannedOperator& planned, const OperatorTensors& tensors,
                            const WorkContext& context) {
  const TensorLayout& gradient = *tensors.arguments[0];
  const bool is_transposed = boolean_argument(planned.plan, 0).value_or(false);
  const TensorLayout& input = is_transposed ? gradient : *tensors.arguments[1];
  const TensorLayout& output = is_transposed ? *tensors.arguments[1] : gradient;
  ConvolutionWork work(input, *tensors.arguments[2], output, context);
  const std::vector<std::int64_t>* mask = output_mask(planned.plan);
  const auto wants = [&](std::size_t i) {
    return mask == nullptr || (i < mask->size() && (*mask)[i] != 0);
  };
  if (wants(0)) work.add(is_transposed ? Pass::kForward : Pass::kInputGradient);
  if (wants(1)) work.add(Pass::kWeightGradient);
  Works works = work.take();
  if (wants(2)) works.push_back(bias_kernel(gradient, true, context));
  return works;
}

}  // namespace

Works convolution_work(const PlannedOperator& planned, const OperatorTensors& tensors,
                       const WorkContext& context) {
  const bool is_backward = base_name(planned.name).find("backward") != std::string_view::npos;
  const std::size_t needed = is_backward ? 3 : 2;
  const TensorLayout* result = result_layout(tensors);
  if (tensors.arguments.size() < needed || (result == nullptr && !is_backward)) return {};
  for (std::size_t i = 0; i < needed; ++i) {
    if (tensors.arguments[i]->sizes.size() < 3 || element_count(*tensors.arguments[i]) == 0)
      return {};
  }
  if (is_backward) return convolution_gradients(planned, tensors, context);
  const bool is_transposed = boolean_argument(planned.plan, 0).value_or(false);
  const TensorLayout& input = is_transposed ? *result : *tensors.arguments[0];
  const TensorLayout& output = is_transposed ? *tensors.arguments[0] : *result;
  ConvolutionWork work(input, *tensors.arguments[1], output, context);
  work.add(is_transposed ? Pass::kInputGradient : Pass::kForward);
  Works works = work.take();
  if (tensors.arguments.size() > 2) works.push_back(bias_kernel(*result, false, context));
  return works;
}

namespace {

// Operators of CUDA's own name their kernel; the device's leaves it to the GPU.
AttentionChoice named_kernel(std::string_view name) {
  if (name.find("cudnn") != name.npos) return AttentionChoice::kCudnn;
  if (name.find("flash") != name.npos) return AttentionChoice::kFlash;
  if (name.find("efficient") != name.npos) return AttentionChoice::kEfficient;
  return AttentionChoice::kByGpu;
}

// What follows the values in the schema of the operators that leave the kernel to the GPU.
bool has_mask(const protocol::PlanDefinition& plan, std::size_t position) {
  return position < plan.arguments.size() &&
         plan.arguments[position].kind == protocol::ArgumentKind::kTensor;
}

}  // namespace

Works attention_work(const PlannedOperator& planned, const OperatorTensors& tensors,
                     const WorkContext& context) {
  const std::string_view name = base_name(planned.name);
  const bool is_backward = name.ends_with("backward");
  const std::size_t first = is_backward ? 1 : 0;
  if (tensors.arguments.size() < first + 3) return {};
  const TensorLayout& query = *tensors.arguments[first];
  const TensorLayout& key = *tensors.arguments[first + 1];
  const TensorLayout& value = *tensors.arguments[first + 2];
  if (query.sizes.size() != 4 || key.sizes.size() != 4) return {};
  // The operators with "scaled" in their name have the heads before the length, the others behind.
  const bool is_length_third = name.find("scaled") != name.npos;
  const std::size_t length = is_length_third ? 1 : 2, heads = is_length_third ? 2 : 1;
  FusedAttention attention;
  attention.heads = size(query, 3) * size(query, heads);
  attention.query_length = size(query, length);
  attention.key_length = size(key, length);
  attention.width = size(query, 0);
  attention.is_backward = is_backward;
  attention.unit = math_unit(query.dtype, false);
  attention.kernel =
      attention_kernel(context.gpu, named_kernel(name),
                       {.is_half = query.dtype == kHalfType || query.dtype == kBfloat16Type,
                        .width = static_cast<std::uint64_t>(attention.width),
                        .has_mask = has_mask(planned.plan, first + 3)});
  const bool says_causal_second =
      !is_backward && (name.find("cudnn") != name.npos || name.find("efficient") != name.npos);
  if (boolean_argument(planned.plan, says_causal_second ? 1 : 0).value_or(false))
    attention.pair_share = 0.5;
  KernelWork work{.name = is_backward ? "attention, gradients" : "attention",
                  .kernel_class = KernelClass::kAttention};
  work.read_bytes = distinct_bytes(query) + distinct_bytes(key) + distinct_bytes(value);
  work.written_bytes = distinct_bytes(query);
  if (is_backward) {
    work.written_bytes = work.read_bytes;
    work.read_bytes += 2 * distinct_bytes(query);
  }
  work.attention = attention;
  return {work};
}

}  // namespace torch_remote::emulator
