// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// PyTorch's C++ shape functions of structured operators (at::meta::add and so on), callable boxed.
// The dispatcher's Meta key leads to Python references for many of them once torch is imported,
// which cost hundreds of microseconds; these cost less than one. The table is generated from the
// headers of the torch that is built against: cmake/generate_meta_functions.py.
#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace torch_remote::client {

// name as in "aten::add.Tensor". Null when the operator has no C++ meta function.
const c10::KernelFunction* find_meta_function(const std::string& name);

// What each generated file adds to the table.
using MetaFunctionEntries = std::vector<std::pair<std::string_view, c10::KernelFunction>>;
MetaFunctionEntries meta_functions_0();
MetaFunctionEntries meta_functions_1();
MetaFunctionEntries meta_functions_2();
MetaFunctionEntries meta_functions_3();

}  // namespace torch_remote::client
