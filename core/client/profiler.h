// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The device's part of PyTorch's two profilers.
#pragma once

namespace torch_remote::client {

// torch.profiler: Kineto asks for a trace of the device. Does nothing for a torch without that.
void register_kineto_profiler();

// torch.autograd.profiler with its own marks around operators.
void register_profiler_stubs();

}  // namespace torch_remote::client
