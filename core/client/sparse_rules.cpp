// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/sparse_rules.h"

#include <ATen/core/Tensor.h>
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/client/planned_results.h"
#include "core/client/sparse_tensors.h"

namespace torch_remote::client {
namespace {

using Arguments = c10::ArrayRef<c10::IValue>;
using Rule = bool (*)(Arguments arguments, ClientPlan& plan);

constexpr std::array<std::int64_t, 1> kNothing{0};

bool is_sparse_value(const c10::IValue& value) {
  return value.isTensor() && is_sparse(value.toTensor());
}

// _to_dense(self, dtype?, masked_grad?)
bool to_dense(Arguments arguments, ClientPlan& plan) {
  const at::Tensor& self = arguments[0].toTensor();
  const auto dtype = arguments[1].toOptional<c10::ScalarType>().value_or(self.scalar_type());
  if (self.layout() != c10::Layout::Sparse) return false;  // its strides are the kernel's
  add_contiguous(plan, self.sizes(), dtype);
  return true;
}

// Whether this is a product of a sparse and a strided factor of one dtype.
bool is_sparse_by_strided(const c10::IValue& sparse, const c10::IValue& strided,
                          std::int64_t dimensions) {
  if (!is_sparse_value(sparse) || is_sparse_value(strided)) return false;
  const at::Tensor &one = sparse.toTensor(), &other = strided.toTensor();
  return one.dim() == dimensions && other.dim() == dimensions &&
         one.scalar_type() == other.scalar_type() && one.size(-1) == other.size(-2);
}

// mm(self, mat2)
bool mm(Arguments arguments, ClientPlan& plan) {
  if (!is_sparse_by_strided(arguments[0], arguments[1], 2)) return false;
  const at::Tensor &self = arguments[0].toTensor(), &other = arguments[1].toTensor();
  add_contiguous(plan, {self.size(0), other.size(1)}, other.scalar_type());
  return true;
}

// bmm(self, mat2)
bool bmm(Arguments arguments, ClientPlan& plan) {
  if (!is_sparse_by_strided(arguments[0], arguments[1], 3)) return false;
  const at::Tensor &self = arguments[0].toTensor(), &other = arguments[1].toTensor();
  if (self.size(0) != other.size(0)) return false;
  add_contiguous(plan, {self.size(0), self.size(1), other.size(2)}, other.scalar_type());
  return true;
}

// addmm(self, mat1, mat2, *, beta, alpha)
bool addmm(Arguments arguments, ClientPlan& plan) {
  if (is_sparse_value(arguments[0]) || !is_sparse_by_strided(arguments[1], arguments[2], 2))
    return false;
  const at::Tensor &self = arguments[0].toTensor(), &first = arguments[1].toTensor(),
                   &second = arguments[2].toTensor();
  const std::array<std::int64_t, 2> sizes{first.size(0), second.size(1)};
  if (self.sizes() != c10::IntArrayRef(sizes) || self.scalar_type() != second.scalar_type())
    return false;
  add_contiguous(plan, sizes, second.scalar_type());
  return true;
}

// mv(self, vec)
bool mv(Arguments arguments, ClientPlan& plan) {
  if (!is_sparse_value(arguments[0]) || is_sparse_value(arguments[1])) return false;
  const at::Tensor &self = arguments[0].toTensor(), &vector = arguments[1].toTensor();
  if (self.dim() != 2 || vector.dim() != 1 || self.size(1) != vector.size(0) ||
      self.scalar_type() != vector.scalar_type())
    return false;
  add_contiguous(plan, {self.size(0)}, vector.scalar_type());
  return true;
}

// _sparse_mm_reduce_impl(self, other, reduce) -> (product, which of the values it is)
bool mm_reduce(Arguments arguments, ClientPlan& plan) {
  if (plan.kernels != Kernels::kCpu || !is_sparse_by_strided(arguments[0], arguments[1], 2))
    return false;
  const at::Tensor &self = arguments[0].toTensor(), &other = arguments[1].toTensor();
  if (self.layout() != c10::Layout::SparseCsr) return false;
  const std::vector<at::Tensor> parts = components_of(self);
  const std::string& reduce = arguments[2].toStringRef();
  const bool has_winners = (reduce == "amax" || reduce == "amin") && parts.back().numel() != 0;
  const std::array<std::int64_t, 2> sizes{self.size(0), other.size(1)};
  add_contiguous(plan, sizes, other.scalar_type());
  add_contiguous(plan, has_winners ? c10::IntArrayRef(sizes) : c10::IntArrayRef(kNothing),
                 parts[1].scalar_type());
  return true;
}

struct NamedRule {
  std::string_view name;  // with the overload
  Rule rule;
};

constexpr std::array<NamedRule, 6> kRules = {{
    {"aten::_sparse_mm_reduce_impl", mm_reduce},
    {"aten::_to_dense", to_dense},
    {"aten::mm", mm},
    {"aten::bmm", bmm},
    {"aten::addmm", addmm},
    {"aten::mv", mv},
}};

bool writes_sparse(const OperatorRecord& record, Arguments arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (record.arguments()[i].written && is_sparse_value(arguments[i])) return true;
  }
  return false;
}

}  // namespace

bool has_sparse_tensor(Arguments arguments) {
  return std::ranges::any_of(arguments, [](const c10::IValue& argument) {
    if (argument.isTensorList() || argument.isOptionalTensorList())
      return std::ranges::any_of(argument.toListRef(), is_sparse_value);
    return is_sparse_value(argument);
  });
}

bool infer_from_sparse(const OperatorRecord& record, Arguments arguments, ClientPlan& plan) {
  if (writes_sparse(record, arguments)) return false;
  if (!record.makes_something()) {
    for (const ReturnTraits& result : record.returns())
      plan.returns.push_back(
          {.kind = PlannedReturn::Kind::kArgument, .value = result.written_argument});
    return true;
  }
  const auto found = std::ranges::find(kRules, record.full_name(), &NamedRule::name);
  return found != kRules.end() && found->rule(arguments, plan);
}

std::optional<c10::OperatorHandle> maker_from_sparse(const OperatorRecord& record,
                                                     Arguments arguments) {
  if (record.makes_something()) return std::nullopt;
  auto maker = record.find_functional();
  const auto takes = [&](c10::DispatchKey key) {
    return maker->hasKernelForDispatchKey(key) &&
           std::ranges::any_of(arguments, [&](const c10::IValue& argument) {
             return argument.isTensor() && argument.toTensor().defined() &&
                    argument.toTensor().key_set().has(key);
           });
  };
  if (maker && !takes(c10::DispatchKey::SparsePrivateUse1) &&
      !takes(c10::DispatchKey::SparseCsrPrivateUse1))
    maker.reset();
  return maker;
}

}  // namespace torch_remote::client
