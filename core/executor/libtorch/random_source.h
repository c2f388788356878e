// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Where an executor's random numbers come from, if not from PyTorch's own generators of the device.
#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/DispatchKey.h>
#include <string>
#include <string_view>

#include "core/executor/libtorch/substitutions.h"

namespace torch_remote::executor::libtorch {

// Immutable; called by the threads of all sessions.
class RandomSource {
 public:
  virtual ~RandomSource() = default;

  // What clients are told: "philox, H100".
  virtual std::string description() const = 0;
  // A new generator, seeded as PyTorch seeds new ones. Its kernels are dispatched by key().
  virtual at::Generator make_generator() const = 0;
  // The key under which the kernels are registered that draw from such generators.
  virtual c10::DispatchKey key() const = 0;
  // What runs for an operator that draws from the default generator and takes none, by its name
  // with overload; nullptr for all others.
  virtual SubstituteFunction substitute(std::string_view name) const = 0;
};

}  // namespace torch_remote::executor::libtorch
