// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Products: what cuBLAS and cuBLASLt keep. Their results come first: ATen/native/cuda/Blas.cpp
// resizes the result and then asks for the handle, which takes its workspace.
#include <array>
#include <span>

#include "core/protocol/tensor_layout.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/library_settings.h"
#include "emulator/workspace/memory_rules.h"
#include "emulator/workspace/memory_script.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::TensorLayout;

void keep_cublas(const RuleContext& context, ScriptWriter& script) {
  script.keep(KeptWorkspace::kCublas, cublas_workspace_bytes(context.gpu, context.settings));
}

void product(const RuleContext& context, ScriptWriter& script) {
  script.outputs();
  keep_cublas(context, script);
}

// Whether addmm(bias, a, b) goes to cuBLASLt, which adds the bias by itself: a vector of bias, and
// matrices that are none (ATen/native/cuda/Blas.cpp, isInputCompliesAddmmCudaLt).
bool adds_bias_in_cublas_lt(const CallView& call) {
  const TensorLayout* bias = call.tensor(0);
  const TensorLayout* a = call.tensor(1);
  const TensorLayout* b = call.tensor(2);
  if (bias == nullptr || a == nullptr || b == nullptr) return false;
  if (a->sizes.size() != 2 || b->sizes.size() != 2 || bias->sizes.size() != 1) return false;
  return bias->sizes[0] == b->sizes[1] && is_contiguous(*bias) && is_floating(a->dtype) &&
         a->sizes[0] > 1 && a->sizes[1] > 1 && b->sizes[1] > 1;
}

void product_with_sum(const RuleContext& context, ScriptWriter& script) {
  product(context, script);
  if (adds_bias_in_cublas_lt(context.call)) {
    script.keep(KeptWorkspace::kCublasLt, cublas_lt_workspace_bytes(context.settings));
  }
}

constexpr std::array kRules = std::to_array<NamedRule>({
    {"mm", product},
    {"bmm", product},
    {"addmm", product_with_sum},
    {"addmm_", product},
    {"_addmm_activation", product_with_sum},
    {"baddbmm", product},
    {"baddbmm_", product},
    {"addbmm", product},
    {"addmv", product},
    {"addmv_", product},
    {"mv", product},
    {"dot", product},
    {"vdot", product},
    {"addr", product},
});

}  // namespace

std::span<const NamedRule> matrix_rules() { return kRules; }

}  // namespace torch_remote::emulator::workspace
