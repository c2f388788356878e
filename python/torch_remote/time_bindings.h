// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The part of torch_remote._C that benchmarks and calibration evaluate the model of time with.
#pragma once

#include <pybind11/pybind11.h>

namespace torch_remote::python {

void add_time_bindings(pybind11::module_& module);

}  // namespace torch_remote::python
