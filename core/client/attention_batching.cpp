// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The fused attention under vmap: the mapped dimension joins the batch. PyTorch's own way, a call
// for each element, takes no operator that returns numbers.
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/functorch/BatchedTensorImpl.h>
#include <ATen/ops/_scaled_dot_product_fused_attention_overrideable_backward_ops.h>
#include <ATen/ops/_scaled_dot_product_fused_attention_overrideable_ops.h>
#include <algorithm>
#include <array>
#include <c10/core/SymInt.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <torch/library.h>
#include <tuple>

namespace torch_remote::client {
namespace {

using at::Tensor;
using at::functorch::maybeGetBatchedImpl;
using Forward = at::_ops::_scaled_dot_product_fused_attention_overrideable;
using Backward = at::_ops::_scaled_dot_product_fused_attention_overrideable_backward;

// The dimension that the innermost vmap maps, out of the arguments and back into the results. While
// it lives, calls go to the next vmap, or to the device.
class MappedDimension {
 public:
  MappedDimension(std::initializer_list<const Tensor*> arguments)
      : excluded_(c10::DispatchKey::FuncTorchBatched) {
    for (const Tensor* argument : arguments) {
      const auto* batched = maybeGetBatchedImpl(*argument);
      if (batched == nullptr || batched->level() < level_) continue;
      level_ = batched->level();
      size_ = batched->value().sym_size(batched->bdim());
    }
  }

  // [batch, ...] as [mapped * batch, ...].
  Tensor joined(const Tensor& argument) const {
    if (!argument.defined()) return argument;
    const Tensor mapped = in_front(argument);
    return mapped.flatten(0, 1);
  }

  // A mask may have fewer dimensions, or leave the batch out, and then holds for all.
  std::optional<Tensor> joined_mask(const std::optional<Tensor>& mask,
                                    const c10::SymInt& batch) const {
    if (!mask || !mask->defined()) return mask;
    const bool is_for_all = !is_mapped(*mask) && (mask->dim() < 4 || mask->sym_size(0) == 1);
    if (is_for_all) return mask;
    Tensor mapped = in_front(*mask);
    while (mapped.dim() < 5) mapped = mapped.unsqueeze(1);
    return mapped.expand_symint({size_, batch, -1, -1, -1}).flatten(0, 1);
  }

  // The way back.
  Tensor parted(const Tensor& result, const c10::SymInt& batch) const {
    if (!result.defined()) return result;
    return at::functorch::makeBatched(result.unflatten_symint(0, {size_, batch}), 0, level_);
  }

 private:
  bool is_mapped(const Tensor& tensor) const {
    const auto* batched = maybeGetBatchedImpl(tensor);
    return batched != nullptr && batched->level() == level_;
  }

  Tensor in_front(const Tensor& tensor) const {
    if (is_mapped(tensor)) {
      const auto* batched = maybeGetBatchedImpl(tensor);
      return batched->value().movedim(batched->bdim(), 0);
    }
    c10::SymDimVector sizes(tensor.sym_sizes());
    sizes.insert(sizes.begin(), size_);
    return tensor.unsqueeze(0).expand_symint(sizes);
  }

  c10::impl::ExcludeDispatchKeyGuard excluded_;
  std::int64_t level_ = -1;
  c10::SymInt size_ = 1;
};

using Results =
    std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor>;

Results attention(const Tensor& query, const Tensor& key, const Tensor& value,
                  const std::optional<Tensor>& mask, double dropout, bool is_causal,
                  bool return_debug_mask, std::optional<double> scale) {
  const Tensor known_mask = mask.value_or(Tensor());
  const c10::SymInt batch = query.sym_size(0);
  const MappedDimension mapped{&query, &key, &value, &known_mask};
  Results results =
      Forward::call(mapped.joined(query), mapped.joined(key), mapped.joined(value),
                    mapped.joined_mask(mask, batch), dropout, is_causal, return_debug_mask, scale);
  std::get<0>(results) = mapped.parted(std::get<0>(results), batch);
  std::get<1>(results) = mapped.parted(std::get<1>(results), batch);
  return results;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> attention_backward(
    const Tensor& gradient, const Tensor& query, const Tensor& key, const Tensor& value,
    const Tensor& mask, std::array<bool, 4> wanted, const Tensor& output, const Tensor& logsumexp,
    const Tensor& cumulative_query, const Tensor& cumulative_key, c10::SymInt query_length,
    c10::SymInt key_length, double dropout, bool is_causal, const Tensor& seed,
    const Tensor& offset, std::optional<double> scale) {
  const c10::SymInt batch = query.sym_size(0);
  const MappedDimension mapped{&gradient, &query, &key, &value, &mask, &output, &logsumexp};
  const auto results = Backward::call(
      mapped.joined(gradient), mapped.joined(query), mapped.joined(key), mapped.joined(value),
      mapped.joined_mask(mask, batch).value_or(Tensor()), wanted, mapped.joined(output),
      mapped.joined(logsumexp), cumulative_query, cumulative_key, query_length, key_length, dropout,
      is_causal, seed, offset, scale);
  return {mapped.parted(std::get<0>(results), batch), mapped.parted(std::get<1>(results), batch),
          mapped.parted(std::get<2>(results), batch), std::get<3>(results)};
}

bool has_rule(const char* name) {
  const auto handle = c10::Dispatcher::singleton().findSchema({name, ""});
  return handle && handle->hasKernelForDispatchKey(c10::DispatchKey::FuncTorchBatched);
}

TORCH_LIBRARY_IMPL(aten, FuncTorchBatched, library) {
  // A later PyTorch may have rules of its own.
  if (!has_rule(Forward::name)) library.impl(Forward::name, TORCH_FN(attention));
  if (!has_rule(Backward::name)) library.impl(Backward::name, TORCH_FN(attention_backward));
}

}  // namespace
}  // namespace torch_remote::client
