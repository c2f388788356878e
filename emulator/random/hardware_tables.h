// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// How a GPU computes its fast functions: the argument's interval is cut into 64 parts of equal
// length, and each part has a parabola.
#pragma once

#include <array>
#include <cstddef>

namespace torch_remote::emulator::random {

inline constexpr std::size_t kParts = 64;
// c[0] + c[1] u + c[2] u^2, where u runs from -1 to 1 through a part.
using Parabolas = std::array<std::array<double, 3>, kParts>;

extern const Parabolas kSine;
extern const Parabolas kLogarithm;
extern const Parabolas kExponential;

}  // namespace torch_remote::emulator::random
