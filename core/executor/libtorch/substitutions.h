// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Client operators that another implementation runs here: operators that exist for the client's
// device alone, and on the CPU those that only accelerators have, or whose kernel would draw from
// the process' generator.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/stack.h>
#include <c10/core/Device.h>
#include <string_view>

namespace torch_remote::executor::libtorch {

// Takes the operator's arguments from the stack and leaves its results there, as a boxed kernel
// does.
using SubstituteFunction = void (*)(torch::jit::Stack& stack, const at::Generator& generator);

// name as "aten::add.Tensor". nullptr where the operator itself runs.
SubstituteFunction find_substitute(std::string_view name, c10::Device device);

}  // namespace torch_remote::executor::libtorch
