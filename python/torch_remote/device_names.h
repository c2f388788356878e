// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Remote devices under CUDA's names, for programs that say "cuda": while it lasts, PyTorch's Python
// types take "cuda:0" for a remote device, and such a device says that it is "cuda:0". Only names
// change: tensors, keys of the dispatcher and commands stay those of the device type remote.
//
// PyTorch's own types are changed in place, because torch.device can't be derived from and is
// compared, pickled and annotated by its identity. Nothing is changed before the first call,
// nothing is called for an operation, and all of it can be undone. Call with the interpreter's
// lock.
#pragma once

#include <optional>
#include <pybind11/pybind11.h>
#include <vector>

namespace torch_remote::python {

// cuda:i is remote:indices[i] from now on. Other remote devices keep their names, and CUDA devices
// that are none of these go under indices that no device has. Throws std::invalid_argument if an
// index is out of range or twice there, std::runtime_error if names are shown already.
void show_as_cuda(const std::vector<int>& indices);

// Gives all devices their own names back; does nothing where they have them.
void show_as_remote();

// Whether a torch.device is a remote one, under whatever name; of other objects it is false.
bool is_remote(const pybind11::handle& device);

// The index of a remote torch.device that torch.remote means by it, under whatever name; empty if
// it has none. Throws pybind11::type_error for anything else.
std::optional<int> remote_index(const pybind11::handle& device);

}  // namespace torch_remote::python
