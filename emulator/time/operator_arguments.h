// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What operators' work is read from: the tensors of a plan, their bytes, and how they lie in
// memory.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "core/protocol/plan.h"
#include "emulator/time/kernel_work.h"

namespace torch_remote::emulator {

// PyTorch's numbers of dtypes (c10::ScalarType), as they are on the wire.
inline constexpr protocol::DataType kInt8Type = 1;
inline constexpr protocol::DataType kHalfType = 5;
inline constexpr protocol::DataType kFloatType = 6;
inline constexpr protocol::DataType kDoubleType = 7;
inline constexpr protocol::DataType kComplexFloatType = 9;
inline constexpr protocol::DataType kComplexDoubleType = 10;
inline constexpr protocol::DataType kBoolType = 11;
inline constexpr protocol::DataType kBfloat16Type = 15;

// Pointers into the plan, valid as long as it is.
struct OperatorTensors {
  std::vector<const protocol::TensorLayout*> arguments{};  // tensors of lists included, in order
  std::vector<const protocol::TensorLayout*> read{};       // those that the operator only reads
  std::vector<const protocol::TensorLayout*> written{};    // arguments that it writes
  std::vector<const protocol::TensorLayout*> outputs{};    // new ones
};
OperatorTensors operator_tensors(const protocol::PlanDefinition& plan);

// The first thing that the operator makes or changes, nullptr where there is none.
const protocol::TensorLayout* result_layout(const OperatorTensors& tensors);

double element_count(const protocol::TensorLayout& layout);
double element_size_bytes(const protocol::TensorLayout& layout);
// Bytes that are there: what a dimension of stride 0 repeats counts once.
double distinct_bytes(const protocol::TensorLayout& layout);

// The dimension along which neighbours lie side by side; the last one where there is none.
std::size_t innermost_dimension(const protocol::TensorLayout& layout);
// Whether elements fill their memory without gaps, in whatever order of the dimensions.
bool is_dense(const protocol::TensorLayout& layout);
// Whether both lie in memory in the same order, so that kernels can treat them as flat.
bool have_same_order(const protocol::TensorLayout& left, const protocol::TensorLayout& right);
// [batch, height, width, channels] in memory.
bool is_channels_last(const protocol::TensorLayout& layout);

// What PyTorch multiplies this dtype with.
MathUnit math_unit(protocol::DataType dtype, bool allow_tf32);

// Values of arguments that are fixed in the plan, by kind and position among those of that kind.
std::optional<bool> boolean_argument(const protocol::PlanDefinition& plan, std::size_t position);
const std::vector<std::int64_t>* integer_list(const protocol::PlanDefinition& plan,
                                              std::size_t position);
// The first fixed integer, where dimensions are given as one.
std::optional<std::int64_t> integer_argument(const protocol::PlanDefinition& plan,
                                             std::size_t position);

}  // namespace torch_remote::emulator
