// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What torch_remote.profile() and the modelled times need of the client.
#pragma once

#include <pybind11/pybind11.h>

namespace torch_remote::python {

void add_profile_bindings(pybind11::module_& module);

}  // namespace torch_remote::python
