// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Tells PyTorch what it asks a device about.
#pragma once

namespace torch_remote::client {

// Once, before the first device is made. Throws c10::Error when another backend was first.
void register_hooks();

}  // namespace torch_remote::client
