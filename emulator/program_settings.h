// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Settings of PyTorch that the program can change while it runs, as far as a GPU's models depend on
// them. PyTorch keeps them for the whole process; whoever makes an Emulation says how to read them.
#pragma once

#include <functional>

#include "emulator/time/operator_time.h"

namespace torch_remote::emulator {

// Kernels that scaled_dot_product_attention may take (torch.nn.attention.sdpa_kernel).
struct AllowedAttention {
  bool flash = true;
  bool efficient = true;
  bool cudnn = true;
  bool math = true;

  friend bool operator==(const AllowedAttention&, const AllowedAttention&) = default;
};

struct ProgramSettings {
  PrecisionSettings precision{};
  AllowedAttention attention{};

  friend bool operator==(const ProgramSettings&, const ProgramSettings&) = default;
};

// The settings of now. Called under the session's lock by the thread that calls an operation; what
// it throws reaches the program.
using ReadSettings = std::function<ProgramSettings()>;

}  // namespace torch_remote::emulator
