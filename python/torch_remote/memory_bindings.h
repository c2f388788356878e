// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The part of torch_remote._C that torch.remote's memory functions call: what only a model of
// memory can tell. And the model by itself, for tools and tests.
#pragma once

#include <pybind11/pybind11.h>

namespace torch_remote::python {

void add_memory_bindings(pybind11::module_& module);

}  // namespace torch_remote::python
