// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/capability_rules.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "emulator/time/operator_class.h"
#include "emulator/workspace/call_view.h"

namespace torch_remote::emulator {
namespace {

using protocol::ErrorKind;
using protocol::TensorLayout;
using workspace::CallView;
using Message = std::optional<std::string>;

// PyTorch's numbers.
constexpr protocol::DataType kComplex64 = 9;
constexpr protocol::DataType kFloat8E5m2 = 23;

struct RuleContext {
  const CallView& call;
  const GpuModel& gpu;
  const ProgramSettings& settings;

  std::int32_t capability() const { return gpu.capability_major * 10 + gpu.capability_minor; }
};

// The rule's text for a call that it refuses.
using Check = Message (*)(const RuleContext& context);

struct Rule : CapabilityRuleRow {
  ErrorKind kind = ErrorKind::kRuntime;
  Check check = nullptr;
};

std::string number(std::int64_t value) { return std::to_string(value); }

std::int64_t size(const TensorLayout& layout, std::size_t dimension) {
  return layout.sizes[dimension];
}

// The operands of a product, where they are matrices; what else they are is another's error.
struct Matrices {
  const TensorLayout* left = nullptr;
  const TensorLayout* right = nullptr;

  explicit Matrices(const CallView& call) : left(call.tensor(0)), right(call.tensor(1)) {}
  bool are_there() const {
    return left != nullptr && right != nullptr && left->sizes.size() == 2 &&
           right->sizes.size() == 2 && size(*left, 1) == size(*right, 0);
  }
  bool are_empty() const {
    return size(*left, 0) == 0 || size(*left, 1) == 0 || size(*right, 1) == 0;
  }
};

// ---- float8 products ----

Message lacks_float8(const RuleContext& context) {
  if (context.capability() >= 89) return {};
  return "torch._scaled_mm is only supported on CUDA devices with compute capability >= 9.0 or "
         "8.9, or ROCm MI300+";
}

Message left_width_is_odd(const RuleContext& context) {
  const Matrices matrices(context.call);
  if (!matrices.are_there() || size(*matrices.left, 1) % 16 == 0) return {};
  return "Expected trailing dimension of mat1 to be divisible by 16 but got mat1 shape: (" +
         number(size(*matrices.left, 0)) + "x" + number(size(*matrices.left, 1)) + ").";
}

Message right_shape_is_odd(const RuleContext& context) {
  const Matrices matrices(context.call);
  if (!matrices.are_there()) return {};
  const std::int64_t rows = size(*matrices.right, 0), columns = size(*matrices.right, 1);
  if (rows % 16 == 0 && columns % 16 == 0) return {};
  return "mat2 shape (" + number(rows) + "x" + number(columns) + ") must be divisible by 16";
}

Message both_have_two_mantissa_bits(const RuleContext& context) {
  const Matrices matrices(context.call);
  if (!matrices.are_there() || matrices.left->dtype != kFloat8E5m2 ||
      matrices.right->dtype != kFloat8E5m2)
    return {};
  return "Multiplication of two Float8_e5m2 matrices is not supported";
}

bool is_row_major_alone(const TensorLayout& layout) {
  return layout.strides[1] == 1 && layout.strides[0] != 1 && layout.sizes[0] > 1 &&
         layout.sizes[1] > 1;
}

bool is_column_major_alone(const TensorLayout& layout) {
  return layout.strides[0] == 1 && layout.strides[1] != 1 && layout.sizes[0] > 1 &&
         layout.sizes[1] > 1;
}

// Blackwell multiplies float8 in any order, and Ada's refusal is cuBLASLt's own.
Message float8_has_another_order(const RuleContext& context) {
  const Matrices matrices(context.call);
  if (!matrices.are_there() || matrices.are_empty() || context.gpu.capability_major != 9) return {};
  if (!is_column_major_alone(*matrices.left) && !is_row_major_alone(*matrices.right)) return {};
  return "Only multiplication of row-major and column-major matrices is supported by cuBLASLt";
}

Message lacks_grouped_float8(const RuleContext& context) {
  if (context.gpu.capability_major == 9 || context.gpu.capability_major == 10) return {};
  return "torch._scaled_grouped_mm is only supported on CUDA devices with compute capability = "
         "[9.0, 10.0], or ROCm MI300+";
}

// ---- int8 products ----

Message int8_has_few_rows(const RuleContext& context) {
  const Matrices matrices(context.call);
  if (!matrices.are_there() || size(*matrices.left, 0) > 16) return {};
  return "self.size(0) needs to be greater than 16, but got " + number(size(*matrices.left, 0));
}

Message int8_has_odd_width(const RuleContext& context) {
  const Matrices matrices(context.call);
  if (!matrices.are_there()) return {};
  const std::int64_t width = size(*matrices.left, 1);
  if (width > 0 && width % 8 == 0) return {};
  return "self.size(1) needs to be greater than 0 and a multiple of 8, but got " + number(width);
}

Message int8_has_odd_columns(const RuleContext& context) {
  const Matrices matrices(context.call);
  if (!matrices.are_there()) return {};
  const std::int64_t columns = size(*matrices.right, 1);
  if (columns > 0 && columns % 8 == 0) return {};
  return "mat2.size(1) needs to be greater than 0 and a multiple of 8, but got " + number(columns);
}

// ---- sparse matrices of which two of four elements are there ----

Message lacks_sparse_tensor_cores(const RuleContext& context) {
  if (context.capability() >= 80) return {};
  return "CUDA error: architecture mismatch when calling `cusparseLtInit(&handle)`";
}

Message lacks_cutlass_sparse_product(const RuleContext& context) {
  if (context.gpu.capability_major == 8) return {};
  return "sparse_semi_structured_mad_op : Supported only on GPUs with compute capability 8.x";
}

// ---- attention ----

struct AttentionCall {
  bool is_half = false;
  bool is_bfloat16 = false;
  bool is_double = false;
  bool has_mask = false;
  std::int64_t width = 0;
};

std::optional<AttentionCall> attention_call(const CallView& call) {
  const TensorLayout* query = call.tensor(0);
  if (query == nullptr || query->sizes.size() != 4) return {};
  return AttentionCall{.is_half = workspace::is_half(query->dtype),
                       .is_bfloat16 = query->dtype == workspace::kBfloat16,
                       .is_double = query->dtype == workspace::kFloat64,
                       .has_mask = call.tensor(3) != nullptr,
                       .width = size(*query, 3)};
}

// A kernel that is allowed, has units for the type, and takes the width and the mask.
bool has_attention_kernel(const RuleContext& context, const AttentionCall& attention) {
  const AllowedAttention& allowed = context.settings.attention;
  // The program names none of CUDA's kernels, but the device's own.
  if (!allowed.flash && !allowed.efficient && !allowed.cudnn) return true;
  const bool has_ampere = context.capability() >= 80;
  const bool flash =
      has_ampere && attention.is_half && !attention.has_mask && attention.width <= 256;
  const bool efficient = !attention.is_double && (has_ampere || !attention.is_bfloat16);
  const bool cudnn = has_ampere && attention.is_half && attention.width % 8 == 0;
  return (allowed.flash && flash) || (allowed.efficient && efficient) || (allowed.cudnn && cudnn) ||
         allowed.math;
}

Message has_no_attention_kernel(const RuleContext& context) {
  const auto attention = attention_call(context.call);
  if (!attention || has_attention_kernel(context, *attention)) return {};
  return "No available kernel. Aborting execution.";
}

// ---- the table ----

constexpr std::string_view kScaledBlas = "ATen/native/cuda/ScaledBlas.cpp";
constexpr std::string_view kGroupedBlas = "ATen/native/cuda/GroupedBlas.cpp";
constexpr std::string_view kBlas = "ATen/native/cuda/Blas.cpp, _int_mm_out_cuda";
constexpr std::string_view kSparseLt =
    "ATen/native/sparse/cuda/cuSPARSELtOps.cpp; cusparseLtInit's status below compute capability "
    "8.0, in TORCH_CUDASPARSE_CHECK's words";
constexpr std::string_view kCutlassSparse =
    "ATen/native/sparse/cuda/SparseSemiStructuredOps.cu, sparse_semi_structured_mad_op";
constexpr std::string_view kAttention =
    "ATen/native/transformers/cuda/sdp_utils.cpp, select_sdp_backend and the checks that it asks";

using enum ErrorKind;

// In the order in which CUDA's PyTorch checks.
constexpr Rule kRules[] = {
    {{"_scaled_mm", "fp8 from 8.9 on", kScaledBlas}, kRuntime, &lacks_float8},
    {{"_scaled_mm", "mat1's width, by 16", kScaledBlas}, kRuntime, &left_width_is_odd},
    {{"_scaled_mm", "mat2's shape, by 16", kScaledBlas}, kRuntime, &right_shape_is_odd},
    {{"_scaled_mm", "e5m2 times e5m2", kScaledBlas}, kValue, &both_have_two_mantissa_bits},
    {{"_scaled_mm", "row-major times column-major on 9.0", kScaledBlas},
     kRuntime,
     &float8_has_another_order},
    {{"_scaled_mm_v2", "fp8 from 8.9 on", kScaledBlas}, kNotImplemented, &lacks_float8},
    {{"_scaled_mm_v2", "mat1's width, by 16", kScaledBlas}, kValue, &left_width_is_odd},
    {{"_scaled_mm_v2", "mat2's shape, by 16", kScaledBlas}, kValue, &right_shape_is_odd},
    {{"_scaled_mm_v2", "e5m2 times e5m2", kScaledBlas}, kValue, &both_have_two_mantissa_bits},
    {{"_scaled_mm_v2", "row-major times column-major on 9.0", kScaledBlas},
     kRuntime,
     &float8_has_another_order},
    {{"_scaled_grouped_mm", "9.x and 10.x", kGroupedBlas}, kValue, &lacks_grouped_float8},
    {{"_scaled_grouped_mm_v2", "9.x and 10.x", kGroupedBlas}, kValue, &lacks_grouped_float8},
    {{"_int_mm", "more than 16 rows", kBlas}, kRuntime, &int8_has_few_rows},
    {{"_int_mm", "self's width, by 8", kBlas}, kRuntime, &int8_has_odd_width},
    {{"_int_mm", "mat2's columns, by 8", kBlas}, kRuntime, &int8_has_odd_columns},
    {{"_cslt_compress", "from 8.0 on", kSparseLt}, kRuntime, &lacks_sparse_tensor_cores},
    {{"_cslt_sparse_mm", "from 8.0 on", kSparseLt}, kRuntime, &lacks_sparse_tensor_cores},
    {{"_cslt_sparse_mm_search", "from 8.0 on", kSparseLt}, kRuntime, &lacks_sparse_tensor_cores},
    {{"_sparse_semi_structured_mm", "8.x", kCutlassSparse},
     kRuntime,
     &lacks_cutlass_sparse_product},
    {{"_sparse_semi_structured_addmm", "8.x", kCutlassSparse},
     kRuntime,
     &lacks_cutlass_sparse_product},
    {{"_scaled_dot_product_fused_attention_overrideable", "kernels that sdpa_kernel allows",
      kAttention},
     kRuntime,
     &has_no_attention_kernel},
};

constexpr auto kRows = [] {
  std::array<CapabilityRuleRow, std::size(kRules)> rows;
  std::ranges::copy(kRules, rows.begin());
  return rows;
}();

constexpr std::string_view kNamespace = "aten::";

bool has_float32(const PlannedOperator& planned) {
  return std::ranges::any_of(planned.plan.arguments, [](const protocol::Argument& argument) {
    return argument.kind == protocol::ArgumentKind::kTensor &&
           (argument.layout.dtype == workspace::kFloat32 || argument.layout.dtype == kComplex64);
  });
}

}  // namespace

std::optional<CapabilityRefusal> capability_refusal(const PlannedOperator& planned,
                                                    const GpuModel& gpu,
                                                    const ProgramSettings& settings) {
  if (!planned.name.starts_with(kNamespace)) return {};
  const std::string_view name = planned.name.substr(kNamespace.size());
  if (!name.starts_with('_')) return {};  // as all in the table
  std::optional<CallView> call;
  for (const Rule& rule : kRules) {
    if (rule.operator_name != name) continue;
    if (!call) call.emplace(planned);
    const RuleContext context{.call = *call, .gpu = gpu, .settings = settings};
    if (Message message = rule.check(context))
      return CapabilityRefusal{.kind = rule.kind, .message = *std::move(message)};
  }
  return {};
}

std::span<const CapabilityRuleRow> capability_rules() { return kRows; }

bool follows_settings(const PlannedOperator& planned) {
  switch (operator_class(planned.name).kind) {
    case OperatorKind::kAttention:
      return true;
    case OperatorKind::kProduct:
    case OperatorKind::kConvolution:
    case OperatorKind::kRecurrent:
      return has_float32(planned);
    default:
      return false;
  }
}

}  // namespace torch_remote::emulator
