// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Which operators take sparse tensors, and which way: those that PyTorch composes of operators on
// the components run here, as they do for CPU, without a command of their own; whatever has a
// kernel goes to the executor whole.
#include "core/client/sparse_operators.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <algorithm>
#include <array>
#include <c10/core/DeviceGuard.h>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <torch/library.h>

#include "core/client/device.h"
#include "core/client/errors.h"
#include "core/client/operator_record.h"
#include "core/client/remote_kernel.h"
#include "core/client/run_operator.h"

namespace torch_remote::client {
namespace {

using c10::DispatchKey;

// PyTorch's functions for these look at nothing but metadata, or call operators on the components.
// In place and with out= as well.
constexpr std::array kComposed = {
    // Making and taking apart.
    "_coalesced", "_dimI", "_dimV", "_indices", "_nnz", "_pin_memory",
    "_sparse_coo_tensor_with_dims", "_sparse_coo_tensor_with_dims_and_tensors", "_values",
    "ccol_indices", "clone", "col_indices", "copy", "copy_sparse_to_sparse", "crow_indices",
    "dense_dim", "empty", "empty_like", "indices", "is_coalesced", "is_pinned", "resize",
    "resize_as_sparse", "row_indices", "sparse_dim", "sparse_resize", "sparse_resize_and_clear",
    "values", "zero", "zeros",
    // Other shapes.
    "_sparse_broadcast_to", "cat", "permute", "select", "select_copy", "unsqueeze",
    "view_as_complex", "view_as_real",
    // All values alike.
    "_conj_physical", "abs", "angle", "asin", "asinh", "atan", "atanh", "ceil", "conj_physical",
    "deg2rad", "erf", "erfinv", "expm1", "fill", "floor", "frac", "isinf", "isnan", "isneginf",
    "isposinf", "log1p", "nan_to_num", "neg", "normal", "pow", "rad2deg", "relu", "round", "sgn",
    "sign", "signbit", "sin", "sinh", "sqrt", "tan", "tanh", "threshold_backward", "trunc",
    // Of all values one.
    "any", "native_norm", "norm", "sum"};

bool is_composed(const c10::OperatorName& name) {
  std::string_view base = std::string_view(name.name).substr(std::string_view("aten::").size());
  if (base.ends_with('_')) base.remove_suffix(1);
  return std::ranges::find(kComposed, base) != kComposed.end();
}

bool is_remote(const c10::Device& device) { return device.type() == c10::DeviceType::PrivateUse1; }

// The device of the first remote argument: where PyTorch's function makes components without
// saying where.
std::optional<c10::Device> remote_device(c10::ArrayRef<c10::IValue> arguments) {
  for (const c10::IValue& argument : arguments) {
    if (argument.isDevice() && is_remote(argument.toDevice())) return argument.toDevice();
    if (argument.isTensor() && argument.toTensor().defined() &&
        is_remote(argument.toTensor().device()))
      return argument.toTensor().device();
    if (argument.isTensorList()) {
      if (const auto device = remote_device(argument.toListRef())) return device;
    }
  }
  return std::nullopt;
}

c10::ArrayRef<c10::IValue> arguments_of(const c10::OperatorHandle& handle,
                                        const torch::jit::Stack& stack) {
  const std::size_t count = handle.schema().arguments().size();
  return c10::ArrayRef<c10::IValue>(stack.data() + stack.size() - count, count);
}

// The function is registered for CPU, and works for every device.
template <DispatchKey kCpuKey>
void run_composed(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  const c10::OptionalDeviceGuard guard(remote_device(arguments_of(handle, *stack)));
  handle.callBoxedForDispatchKey(kCpuKey, *stack);
}

template <DispatchKey kCpuKey>
void register_operators(torch::Library& library) {
  for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames()) {
    if (!name.name.starts_with("aten::")) continue;
    const auto handle = c10::Dispatcher::singleton().findSchema(name);
    if (!handle || !handle->hasKernelForDispatchKey(kCpuKey)) continue;
    library.impl(c10::toString(name).c_str(),
                 is_composed(name)
                     ? torch::CppFunction::makeFromBoxedFunction<&run_composed<kCpuKey>>()
                     : torch::CppFunction::makeFromBoxedFunctor(std::make_unique<RemoteKernel>()));
  }
}

}  // namespace

void embedding_bag_backward(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  const auto sparse = handle.schema().argumentIndexWithName("sparse");
  if (arguments_of(handle, *stack)[static_cast<std::size_t>(*sparse)].toBool()) {
    run_composed<DispatchKey::CPU>(handle, stack);
  } else {
    run_operator(operator_record(handle), stack);
  }
}

void validate_compressed_indices(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  const auto device = remote_device(arguments_of(handle, *stack));
  run_operator(operator_record(handle), stack);
  const int index = device->index();
  with_torch_errors(index, [&] { device_at(index).session().synchronize(); });
}

namespace {

TORCH_LIBRARY_IMPL(aten, SparsePrivateUse1, library) {
  register_operators<DispatchKey::SparseCPU>(library);
}

TORCH_LIBRARY_IMPL(aten, SparseCsrPrivateUse1, library) {
  register_operators<DispatchKey::SparseCsrCPU>(library);
}

}  // namespace
}  // namespace torch_remote::client
