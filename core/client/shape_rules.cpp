// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/shape_rules.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ExpandUtils.h>
#include <ATen/InferSize.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/TensorIterator.h>
#include <ATen/core/Reduction.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/result_type.h>
#include <array>
#include <c10/util/Exception.h>
#include <c10/util/SmallVector.h>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/client/device.h"
#include "core/client/planned_results.h"
#include "core/client/rule_functions.h"

namespace torch_remote::client {
namespace {

using rules::Arguments;

// The result of an operation on each element by itself: PyTorch's iterator looks first whether its
// operands are contiguous, which tensors of odd strides may be as well.
void add_elementwise(ClientPlan& plan, const at::Tensor& input) {
  if (input.is_contiguous()) return add_contiguous(plan, input.sizes(), input.scalar_type());
  add_tensor(plan, input.sizes(), preserved_strides(input), input.scalar_type());
}

void add_first_argument(ClientPlan& plan) {
  plan.returns.push_back({.kind = PlannedReturn::Kind::kArgument, .value = 0});
}

// PyTorch's own functions for relu, normal_ and some backwards are Python, whose first call
// imports its compiler: a second, for what is often among a program's first operations.
bool relu(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  if (input.scalar_type() == c10::ScalarType::Bool || c10::isComplexType(input.scalar_type()))
    return false;
  add_elementwise(plan, input);
  return true;
}

bool relu_in_place(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& self = arguments[0].toTensor();
  const c10::ScalarType dtype = self.scalar_type();
  if (dtype == c10::ScalarType::Bool || c10::isComplexType(dtype)) return false;
  at::assert_no_internal_overlap(self);
  add_first_argument(plan);
  return true;
}

// log_sigmoid_forward(self) -> (output, buffer). CPU's kernel makes both contiguous, CUDA's leaves
// the buffer out.
bool log_sigmoid(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  if (plan.kernels == Kernels::kNone || !c10::isFloatingType(input.scalar_type())) return false;
  if (plan.kernels == Kernels::kCpu) {
    add_contiguous(plan, input.sizes(), input.scalar_type());
    add_contiguous(plan, input.sizes(), input.scalar_type());
  } else {
    add_elementwise(plan, input);
    add_contiguous(plan, {0}, input.scalar_type());
  }
  return true;
}

// rrelu_with_noise(self, noise, ...): contiguous on CPU, whatever self is.
bool rrelu_with_noise(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  if (plan.kernels != Kernels::kCpu || !c10::isFloatingType(input.scalar_type())) return false;
  add_contiguous(plan, input.sizes(), input.scalar_type());
  return true;
}

// hardtanh_backward(grad_output, self, min, max): of each element by itself, the gradient's strides
// before self's. PyTorch's function composes it of others, which look at self first.
bool hardtanh_backward(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& gradient = arguments[0].toTensor();
  const at::Tensor& self = arguments[1].toTensor();
  if (gradient.sizes() != self.sizes() || gradient.scalar_type() != self.scalar_type() ||
      !gradient.is_non_overlapping_and_dense() || !self.is_non_overlapping_and_dense())
    return false;
  const bool are_contiguous = gradient.is_contiguous() && self.is_contiguous();
  if (are_contiguous) {
    add_contiguous(plan, gradient.sizes(), gradient.scalar_type());
  } else {
    add_tensor(plan, gradient.sizes(), preserved_strides(gradient), gradient.scalar_type());
  }
  return true;
}

// normal_(self, mean, std, generator?)
bool normal_in_place(Arguments arguments, ClientPlan& plan) {
  const double deviation = arguments[2].toDouble();
  TORCH_CHECK(deviation >= 0.0, "normal expects std >= 0.0, but found std ", deviation);
  const at::Tensor& self = arguments[0].toTensor();
  if (!c10::isFloatingType(self.scalar_type()) && !c10::isComplexType(self.scalar_type()))
    return false;
  at::assert_no_internal_overlap(self);
  add_first_argument(plan);
  return true;
}

// normal.Tensor_float(mean, std), normal.float_Tensor, normal.Tensor_Tensor: contiguous, whatever
// the parameters are. PyTorch's functions for them are composed of others, which keep strides.
bool normal(Arguments arguments, ClientPlan& plan) {
  const bool mean_is_tensor = arguments[0].isTensor();
  const at::Tensor& first = arguments[mean_is_tensor ? 0 : 1].toTensor();
  const at::Tensor& second = arguments[arguments[1].isTensor() ? 1 : 0].toTensor();
  if (!c10::isFloatingType(first.scalar_type()) || !c10::isFloatingType(second.scalar_type()))
    return false;
  if (!arguments[1].isTensor() && arguments[1].toDouble() < 0) return false;
  add_contiguous(plan, at::infer_size(first.sizes(), second.sizes()), first.scalar_type());
  return true;
}

// floor_divide(self, other): PyTorch's function is Python, and loses the strides of what it
// composes.
bool floor_divide(Arguments arguments, ClientPlan& plan) {
  const auto meta_of = [](const at::Tensor& tensor) -> at::Tensor {
    if (tensor.device().is_cpu()) return tensor;  // a number
    return at::detail::empty_strided_meta(tensor.sizes(), tensor.strides(), tensor.scalar_type());
  };
  const at::Tensor self = meta_of(arguments[0].toTensor());
  const at::Tensor other = meta_of(arguments[1].toTensor());
  const c10::ScalarType dtype = at::result_type(self, other);
  if (dtype == c10::ScalarType::Bool || c10::isComplexType(dtype)) return false;
  at::Tensor unmade;
  const auto iterator = at::TensorIterator::binary_op(unmade, self, other);
  const at::Tensor& result = iterator.output();
  add_tensor(plan, result.sizes(), result.strides(), dtype);
  return true;
}

// view_copy(self, size): of all tensors, those too that have no such view.
bool view_copy(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& self = arguments[0].toTensor();
  add_contiguous(plan, at::infer_size(arguments[1].toDimVector(), self.numel()),
                 self.scalar_type());
  return true;
}

// native_dropout(input, p, train?) -> (output, mask)
bool dropout(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& input = arguments[0].toTensor();
  const std::vector<std::int64_t> strides = preserved_strides(input);
  add_tensor(plan, input.sizes(), strides, input.scalar_type());
  add_tensor(plan, input.sizes(), strides, c10::ScalarType::Bool);
  return true;
}

// native_dropout_backward(grad_output, mask, scale)
bool dropout_backward(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& gradient = arguments[0].toTensor();
  const at::Tensor& mask = arguments[1].toTensor();
  const bool are_dense =
      mask.is_non_overlapping_and_dense() && gradient.is_non_overlapping_and_dense();
  if (mask.sizes() != gradient.sizes() || (mask.strides() != gradient.strides() && !are_dense) ||
      mask.scalar_type() != c10::ScalarType::Bool || !c10::isFloatingType(gradient.scalar_type())) {
    return false;
  }
  add_elementwise(plan, gradient);
  return true;
}

// _embedding_bag(weight, indices, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights?,
// include_last_offset, padding_idx) -> (output, offset2bag, bag_size, max_indices). The meta
// function gives the last three as CUDA has them. CPU's kernel leaves out what its fast path for
// sums and, unless there may be a gradient, its backward don't need.
bool any_embedding_bag(Arguments arguments, bool may_have_gradient, ClientPlan& plan) {
  if (plan.kernels == Kernels::kAccelerator) return false;
  constexpr std::int64_t kSum = 0, kMax = 2;
  const at::Tensor& weight = arguments[0].toTensor();
  const at::Tensor& indices = arguments[1].toTensor();
  const at::Tensor& offsets = arguments[2].toTensor();
  const std::int64_t mode = arguments[4].toInt();
  if (weight.dim() != 2 || indices.dim() != 1 || offsets.dim() != 1 || mode < kSum || mode > kMax)
    return false;
  const bool has_sample_weights = arguments[6].isTensor() && arguments[6].toTensor().defined();
  if (has_sample_weights && arguments[6].toTensor().dim() != 1) return false;
  const std::int64_t bags = offsets.size(0) - (arguments[7].toBool() ? 1 : 0);
  if (bags < 0) return false;
  const c10::ScalarType dtype = weight.scalar_type();
  const bool is_fast_sum = mode == kSum &&
                           (dtype == c10::ScalarType::Float || c10::isReducedFloatingType(dtype)) &&
                           weight.stride(1) == 1 && arguments[8].toInt() < 0 &&
                           (!has_sample_weights || arguments[6].toTensor().stride(0) == 1);
  const std::int64_t counted_bags = mode == kSum && !may_have_gradient ? offsets.size(0) : bags;
  const bool is_long = indices.scalar_type() == c10::ScalarType::Long ||
                       offsets.scalar_type() == c10::ScalarType::Long;
  const c10::ScalarType index_dtype = is_long ? c10::ScalarType::Long : indices.scalar_type();
  add_contiguous(plan, {bags, weight.size(1)}, dtype);
  add_contiguous(plan, {is_fast_sum ? 0 : indices.size(0)}, index_dtype);
  add_contiguous(plan, {counted_bags}, index_dtype);
  if (mode == kMax) {
    add_contiguous(plan, {bags, weight.size(1)}, index_dtype);
  } else {
    add_contiguous(plan, {counted_bags}, index_dtype);
  }
  return true;
}

bool embedding_bag(Arguments arguments, ClientPlan& plan) {
  return any_embedding_bag(arguments, true, plan);
}
bool embedding_bag_forward_only(Arguments arguments, ClientPlan& plan) {
  return any_embedding_bag(arguments, false, plan);
}

// index_select(self, dim, index) -> Tensor
bool index_select(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& self = arguments[0].toTensor();
  const at::Tensor& index = arguments[2].toTensor();
  std::int64_t dimension = arguments[1].toInt();
  if (dimension < 0) dimension += self.dim();
  const bool is_index =
      index.scalar_type() == c10::ScalarType::Long || index.scalar_type() == c10::ScalarType::Int;
  if (self.dim() == 0 || index.dim() > 1 || dimension < 0 || dimension >= self.dim() || !is_index)
    return false;
  c10::SmallVector<std::int64_t, 5> sizes(self.sizes().begin(), self.sizes().end());
  sizes[static_cast<std::size_t>(dimension)] = index.numel();
  add_contiguous(plan, sizes, self.scalar_type());
  return true;
}

// index_add(self, dim, index, source, alpha), index_reduce(self, dim, index, source, reduce, ...):
// the meta functions look at the first row of both, where there may be none.
bool has_no_row(Arguments arguments) {
  const at::Tensor& self = arguments[0].toTensor();
  const at::Tensor& source = arguments[3].toTensor();
  std::int64_t dimension = arguments[1].toInt();
  if (dimension < 0) dimension += self.dim();
  if (dimension < 0 || dimension >= self.dim() || source.dim() != self.dim()) return false;
  return self.size(dimension) == 0 || source.size(dimension) == 0;
}

bool index_add(Arguments arguments, ClientPlan& plan) {
  if (!has_no_row(arguments)) return false;
  const at::Tensor& self = arguments[0].toTensor();
  add_contiguous(plan, self.sizes(), self.scalar_type());
  return true;
}

bool index_add_in_place(Arguments arguments, ClientPlan& plan) {
  if (!has_no_row(arguments)) return false;
  at::assert_no_internal_overlap(arguments[0].toTensor());
  add_first_argument(plan);
  return true;
}

// mm(self, mat2), bmm(self, mat2), baddbmm(self, batch1, batch2, ...): only the check that the meta
// functions leave to the kernels.
bool check_matrix_product(Arguments arguments, ClientPlan& /*plan*/) {
  const at::Tensor& first = arguments[0].toTensor();
  for (const c10::IValue& argument : arguments.slice(1)) {
    if (!argument.isTensor()) continue;
    TORCH_CHECK(argument.toTensor().dtype() == first.dtype(),
                "expected m1 and m2 to have the same dtype, but got: ", first.dtype(),
                " != ", argument.toTensor().dtype());
  }
  return false;
}

// normal.Tensor_float_out, normal.float_Tensor_out: the kernels fill the out and then add or
// multiply in place, so it has to have a shape already.
bool normal_out(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& parameter = arguments[arguments[0].isTensor() ? 0 : 1].toTensor();
  const c10::IntArrayRef sizes = arguments.back().toTensor().sizes();
  TORCH_CHECK(c10::IntArrayRef(at::infer_size(sizes, parameter.sizes())) == sizes,
              "output with shape ", sizes, " doesn't match the broadcast shape ",
              parameter.sizes());
  plan.returns.push_back({.kind = PlannedReturn::Kind::kArgument,
                          .value = static_cast<std::int64_t>(arguments.size() - 1)});
  return true;
}

// multilabel_margin_loss_forward(self, target, reduction) -> (output, is_target). The meta function
// gives the loss of a single example a dimension that the kernels don't give it.
bool multilabel_margin_loss(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& self = arguments[0].toTensor();
  const at::Tensor& target = arguments[1].toTensor();
  if (self.dim() != 1 || arguments[2].toInt() != at::Reduction::None ||
      self.sizes() != target.sizes())
    return false;
  add_contiguous(plan, {}, self.scalar_type());
  add_contiguous(plan, target.sizes(), self.scalar_type());
  return true;
}

// _scaled_mm and _scaled_mm_v2 of CPU, which take operands of any layout. Those of CUDA don't, and
// of an emulated GPU its models say so.
bool scaled_product(Arguments arguments, std::size_t dtype_index, ClientPlan& plan) {
  const at::Tensor& self = arguments[0].toTensor();
  const at::Tensor& other = arguments[1].toTensor();
  const bool takes_any = plan.kernels == Kernels::kCpu || device_of(self.device()).emulates_gpu();
  if (!takes_any || self.dim() != 2 || other.dim() != 2 || self.size(1) != other.size(0))
    return false;
  const auto dtype = arguments[dtype_index].toOptional<c10::ScalarType>();
  add_contiguous(plan, {self.size(0), other.size(1)}, dtype.value_or(self.scalar_type()));
  return true;
}
bool scaled_mm(Arguments arguments, ClientPlan& plan) { return scaled_product(arguments, 6, plan); }
bool scaled_mm_v2(Arguments arguments, ClientPlan& plan) {
  return scaled_product(arguments, 9, plan);
}

// baddbmm.dtype(self, batch1, batch2, out_dtype, beta, alpha, out?): PyTorch's meta function is
// that of baddbmm, which takes the type for beta.
bool widening_batched_sum(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& self = arguments[0].toTensor();
  const at::Tensor& first = arguments[1].toTensor();
  const at::Tensor& second = arguments[2].toTensor();
  const c10::ScalarType dtype = arguments[3].toScalarType();
  TORCH_CHECK(first.dim() == 3 && second.dim() == 3, "baddbmm: batch1 and batch2 must be 3D, not ",
              first.dim(), "D and ", second.dim(), "D");
  TORCH_CHECK(first.size(0) == second.size(0) && first.size(2) == second.size(1),
              "baddbmm: batch1 of shape ", first.sizes(), " and batch2 of shape ", second.sizes(),
              " cannot be multiplied");
  const c10::ScalarType given = first.scalar_type();
  TORCH_CHECK(given == second.scalar_type(),
              "baddbmm: batch1 and batch2 must have the same dtype, not ", given, " and ",
              second.scalar_type());
  TORCH_CHECK(dtype == given || (dtype == c10::kFloat && c10::isReducedFloatingType(given)),
              "out_dtype must be the same as input dtype or fp32 for fp16/bf16 inputs");
  TORCH_CHECK(self.scalar_type() == dtype || self.scalar_type() == given,
              "baddbmm: input must have the dtype of batch1 or out_dtype, not ",
              self.scalar_type());
  TORCH_CHECK(arguments.size() == 6 || arguments[6].toTensor().scalar_type() == dtype,
              "baddbmm: out must have dtype ", dtype);
  const std::array<std::int64_t, 3> sizes = {first.size(0), first.size(1), second.size(2)};
  TORCH_CHECK(at::is_expandable_to(self.sizes(), sizes), "baddbmm: input of shape ", self.sizes(),
              " cannot be expanded to ", c10::IntArrayRef(sizes));
  add_contiguous(plan, sizes, dtype);
  return true;
}

// _grouped_mm(self, mat2, offs?, bias?, out_dtype?): a matrix product for each group of rows, of
// columns, of summands, or of two batches, in rows of a multiple of 16 bytes. The meta function
// knows the kernel for bfloat16 alone.
bool grouped_product(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& self = arguments[0].toTensor();
  const at::Tensor& other = arguments[1].toTensor();
  const bool has_offsets = arguments[2].isTensor() && arguments[2].toTensor().defined();
  const bool first_is_batch = self.dim() == 3, second_is_batch = other.dim() == 3;
  if ((self.dim() != 2 && !first_is_batch) || (other.dim() != 2 && !second_is_batch) ||
      self.size(-1) != other.size(-2) || has_offsets == (first_is_batch && second_is_batch) ||
      (has_offsets && arguments[2].toTensor().dim() != 1))
    return false;
  const std::int64_t groups = has_offsets ? arguments[2].toTensor().size(0) : self.size(0);
  if ((first_is_batch && self.size(0) != groups) || (second_is_batch && other.size(0) != groups))
    return false;
  const auto dtype = arguments[4].toOptional<c10::ScalarType>().value_or(self.scalar_type());
  const std::int64_t rows = self.size(-2), columns = other.size(-1);
  const std::int64_t alignment = 16 / static_cast<std::int64_t>(c10::elementSize(dtype));
  const std::int64_t row_stride = (columns + alignment - 1) / alignment * alignment;
  if (first_is_batch == second_is_batch) {
    const std::array<std::int64_t, 3> strides = {rows * row_stride, row_stride, 1};
    add_tensor(plan, {groups, rows, columns}, strides, dtype);
  } else {
    const std::array<std::int64_t, 2> strides = {row_stride, 1};
    add_tensor(plan, {rows, columns}, strides, dtype);
  }
  return true;
}

constexpr auto kRules = std::to_array<std::pair<std::string_view, ShapeRule>>({
    {"aten::native_layer_norm", &rules::layer_norm},
    {"aten::native_layer_norm_backward", &rules::layer_norm_backward},
    {"aten::_fused_rms_norm", &rules::rms_norm},
    {"aten::_fused_rms_norm_backward", &rules::rms_norm_backward},
    {"aten::native_dropout", &dropout},
    {"aten::native_dropout_backward", &dropout_backward},
    {"aten::native_batch_norm", &rules::batch_norm},
    {"aten::_native_batch_norm_legit", &rules::batch_norm},
    {"aten::_native_batch_norm_legit.no_stats", &rules::batch_norm_without_running},
    {"aten::normal.Tensor_float", &normal},
    {"aten::normal.float_Tensor", &normal},
    {"aten::normal.Tensor_Tensor", &normal},
    {"aten::floor_divide", &floor_divide},
    {"aten::view_copy", &view_copy},
    {"aten::normal.Tensor_float_out", &normal_out},
    {"aten::normal.float_Tensor_out", &normal_out},
    {"aten::multilabel_margin_loss_forward", &multilabel_margin_loss},
    {"aten::_scaled_mm", &scaled_mm},
    {"aten::_scaled_mm_v2", &scaled_mm_v2},
    {"aten::_grouped_mm", &grouped_product},
    {"aten::_batch_norm_with_update", &rules::batch_norm_with_update},
    {"aten::native_batch_norm_backward", &rules::batch_norm_backward},
    {"aten::batch_norm_backward", &rules::batch_norm_backward},
    {"aten::_embedding_bag", &embedding_bag},
    {"aten::_embedding_bag_forward_only", &embedding_bag_forward_only},
    {"aten::index_select", &index_select},
    {"aten::index_add", &index_add},
    {"aten::index_add_", &index_add_in_place},
    {"aten::index_reduce", &index_add},
    {"aten::index_reduce_", &index_add_in_place},
    {"aten::normal_", &normal_in_place},
    {"aten::log_sigmoid_forward", &log_sigmoid},
    {"aten::rrelu_with_noise", &rrelu_with_noise},
    {"aten::hardtanh_backward", &hardtanh_backward},
    {"aten::relu", &relu},
    {"aten::relu_", &relu_in_place},
    {"aten::mm", &check_matrix_product},
    {"aten::bmm", &check_matrix_product},
    {"aten::baddbmm", &check_matrix_product},
    {"aten::baddbmm.dtype", &widening_batched_sum},
    {"aten::convolution", &rules::convolution},
    {"aten::convolution_backward", &rules::convolution_backward},
    {"aten::_thnn_fused_gru_cell", &rules::gru_cell},
    {"aten::_thnn_fused_gru_cell_backward", &rules::gru_cell_backward},
    {"aten::_thnn_fused_lstm_cell", &rules::lstm_cell},
    {"aten::_thnn_fused_lstm_cell_backward_impl", &rules::lstm_cell_backward},
    {"aten::_cudnn_rnn", &rules::cudnn_rnn},
    {"aten::_cudnn_rnn_backward", &rules::cudnn_rnn_backward},
    {"aten::_cudnn_init_dropout_state", &rules::dropout_state},
    {"aten::_scaled_dot_product_fused_attention_overrideable", &rules::attention},
    {"aten::_scaled_dot_product_fused_attention_overrideable_backward", &rules::attention_backward},
});

}  // namespace

ShapeRule find_shape_rule(std::string_view name, std::string_view overload) {
  std::string full_name(name);
  if (!overload.empty()) full_name.append(".").append(overload);
  for (const auto& [rule_name, rule] : kRules) {
    if (rule_name == full_name) return rule;
  }
  return nullptr;
}

}  // namespace torch_remote::client
