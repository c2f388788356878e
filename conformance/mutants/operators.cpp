// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "conformance/mutants/operators.h"

namespace torch_remote::mutants {

std::span<const Operator> operators() {
  static const std::vector<Operator> table = {
#include "conformance/mutants/operators.inc"
  };
  return table;
}

}  // namespace torch_remote::mutants
