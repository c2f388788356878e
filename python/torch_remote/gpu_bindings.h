// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// GPU types, built in and users' own, for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace torch_remote::python {

// Adds a type and functions to the module. To be called before whatever takes or gives a GpuModel.
void add_gpu_bindings(pybind11::module_& module);

}  // namespace torch_remote::python
