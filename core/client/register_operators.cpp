// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The device's table of contents: which operator takes which way.
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/DispatchStub.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/ops/is_set_to_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <torch/library.h>

#include "core/client/attention_choice.h"
#include "core/client/native_operators.h"
#include "core/client/recurrent_networks.h"
#include "core/client/remote_kernel.h"
#include "core/client/run_operator.h"
#include "core/client/sparse_operators.h"

namespace torch_remote::client {
namespace {

// Operators that PyTorch has no kernel for: those of other libraries, and those made later.
void run_unregistered(const c10::OperatorHandle& handle, torch::jit::Stack* stack) {
  run_operator(operator_record(handle), stack);
}

// Composite kernels that CUDA replaces by one of its own: left composite they would be more
// commands, other bits, and not the memory or time of CUDA's kernel. These have no CPU kernel that
// would tell.
constexpr std::array<std::string_view, 11> kWholeOnDevice = {
    "aten::linalg_lstsq",
    "aten::mode",
    "aten::_grouped_mm",
    "aten::_fused_rms_norm",
    "aten::_fused_rms_norm_backward",
    "aten::convolution",
    "aten::convolution_backward",
    "aten::convolution_overrideable",
    "aten::convolution_backward_overrideable",
    "aten::_scaled_dot_product_fused_attention_overrideable",
    "aten::_scaled_dot_product_fused_attention_overrideable_backward",
};

bool names_a_device(const c10::OperatorHandle& handle) {
  return std::ranges::any_of(handle.schema().arguments(), [](const c10::Argument& argument) {
    return argument.name() == "device";
  });
}

bool runs_whole_on_device(const c10::OperatorHandle& handle) {
  using c10::DispatchKey;
  const std::string& name = handle.operator_name().name;
  if (handle.hasTag(at::Tag::inplace_view))
    return false;  // as_strided_ and its like change metadata alone
  // A factory's result may be wanted on another device than its arguments' one: new_empty_strided.
  const bool is_structured =
      handle.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutogradNonFunctional) &&
      !names_a_device(handle);
  return handle.hasKernelForDispatchKey(DispatchKey::CPU) || is_structured ||
         name.starts_with("aten::_foreach_") ||
         std::ranges::find(kWholeOnDevice, name) != kWholeOnDevice.end();
}

// A kernel that the dispatcher knows for CPU or for structured operators would otherwise be
// shadowed by a composite one, which wins over a fallback.
void register_boxed_kernels(torch::Library& library) {
  for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames()) {
    if (!name.name.starts_with("aten::")) continue;
    const auto handle = c10::Dispatcher::singleton().findSchema(name);
    if (!handle || handle->hasKernelForDispatchKey(c10::DispatchKey::PrivateUse1) ||
        !runs_whole_on_device(*handle))
      continue;
    library.impl(c10::toString(name).c_str(),
                 torch::CppFunction::makeFromBoxedFunctor(std::make_unique<RemoteKernel>()));
  }
}

void choose_recurrent_networks(torch::Library& library) {
  library.impl("lstm.input", TORCH_FN(lstm_input));
  library.impl("lstm.data", TORCH_FN(lstm_data));
  library.impl("gru.input", TORCH_FN(gru_input));
  library.impl("gru.data", TORCH_FN(gru_data));
  library.impl("rnn_tanh.input", TORCH_FN(rnn_tanh_input));
  library.impl("rnn_tanh.data", TORCH_FN(rnn_tanh_data));
  library.impl("rnn_relu.input", TORCH_FN(rnn_relu_input));
  library.impl("rnn_relu.data", TORCH_FN(rnn_relu_data));
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_unregistered>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", TORCH_FN(empty));
  library.impl("empty_strided", TORCH_FN(empty_strided));
  library.impl("as_strided", TORCH_FN(as_strided));
  library.impl("view", TORCH_FN(view));
  library.impl("_reshape_alias", TORCH_FN(reshape_alias));
  library.impl("unfold", TORCH_FN(at::native::unfold));
  library.impl("view_as_real", TORCH_FN(at::native::view_as_real));
  library.impl("view_as_complex", TORCH_FN(at::native::view_as_complex));
  library.impl("is_set_to", TORCH_FN(at::native::is_set_to));
  library.impl("resize_", TORCH_FN(resize_));
  library.impl("set_.source_Storage", TORCH_FN(set_storage_));
  library.impl("set_.source_Storage_storage_offset", TORCH_FN(set_storage_geometry_));
  library.impl("set_.source_Tensor", TORCH_FN(set_tensor_));
  library.impl("set_", TORCH_FN(set_empty_));
  library.impl("_efficientzerotensor", TORCH_FN(efficient_zeros));
  library.impl("addbmm_", TORCH_FN(addbmm_));
  library.impl("dot", TORCH_FN(dot));
  library.impl("vdot", TORCH_FN(vdot));
  library.impl("record_stream", TORCH_FN(record_stream));
  library.impl("_has_compatible_shallow_copy_type", TORCH_FN(has_compatible_shallow_copy_type));
  library.impl("_copy_from", TORCH_FN(copy_from));
  library.impl("_copy_from_and_resize", TORCH_FN(copy_from_and_resize));
  library.impl("_local_scalar_dense", TORCH_FN(local_scalar_dense));
  library.impl("linalg_lstsq.out", TORCH_FN(least_squares_out));
  library.impl("_embedding_bag_backward",
               torch::CppFunction::makeFromBoxedFunction<&embedding_bag_backward>());
  library.impl("_validate_compressed_sparse_indices",
               torch::CppFunction::makeFromBoxedFunction<&validate_compressed_indices>());
  library.impl("_cudnn_rnn_flatten_weight", TORCH_FN(flatten_recurrent_weights));
  library.impl("_cudnn_rnn_backward", TORCH_FN(recurrent_backward));
  choose_recurrent_networks(library);
  register_boxed_kernels(library);
}

// Above the composite kernels: cuDNN's operator has a derivative of its own.
TORCH_LIBRARY_IMPL(aten, AutogradPrivateUse1, library) { choose_recurrent_networks(library); }

TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, library) {
  library.impl("_cudnn_rnn", TORCH_FN(autocast_recurrent));
}

// Copies take the bits of a lazy conjugate or negative as they are: resolving one would be a copy
// again.
void copy_lazy_views(torch::Library& library) {
  library.impl("_copy_from", torch::CppFunction::makeFallthrough());
  library.impl("_copy_from_and_resize", torch::CppFunction::makeFallthrough());
}

TORCH_LIBRARY_IMPL(aten, Conjugate, library) { copy_lazy_views(library); }
TORCH_LIBRARY_IMPL(aten, Negative, library) { copy_lazy_views(library); }

}  // namespace
}  // namespace torch_remote::client

namespace at::native {
// The macro wants to be in this namespace.
REGISTER_PRIVATEUSE1_DISPATCH(_fused_sdp_choice_stub, &torch_remote::client::choose_attention)
}  // namespace at::native
