// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The operators that mutants are drawn from: those that programs use and clients send. The table is
// made by list_operators.py, whose rules say what these are.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace torch_remote::mutants {

enum class Group : std::uint8_t { kForward, kInPlace, kBackward, kOptimizer };

enum Traits : std::uint32_t {
  kFloats = 1,          // results are any floating-point numbers
  kWide = 2,            // they may have two dimensions and more
  kNonCommutative = 4,  // its first two operands mean different things
  kAlikeResults = 8,    // it has results of one layout and different meanings
  kReads = 16,          // it has tensor arguments that it only reads
  kRandom = 32,         // it draws random numbers
};

struct Operator {
  std::string_view name;  // "aten::add.Tensor"
  Group group;
  std::uint32_t traits;
  std::vector<std::uint32_t> numbers;  // positions of arguments that are numbers

  bool has(std::uint32_t wanted) const { return (traits & wanted) == wanted; }
};

std::span<const Operator> operators();

}  // namespace torch_remote::mutants
