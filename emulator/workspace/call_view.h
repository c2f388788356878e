// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Reads a planned call as the rules of memory_scripts.h need it: tensors by their position in the
// operator's schema, numbers with what they are where the plan doesn't fix them, and figures of a
// tensor. Views into the plan: valid as long as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/protocol/plan.h"
#include "emulator/planned_operator.h"

namespace torch_remote::emulator::workspace {

// PyTorch's numbers of the data types that rules tell apart.
inline constexpr protocol::DataType kInt32 = 3;
inline constexpr protocol::DataType kInt64 = 4;
inline constexpr protocol::DataType kFloat16 = 5;
inline constexpr protocol::DataType kFloat32 = 6;
inline constexpr protocol::DataType kFloat64 = 7;
inline constexpr protocol::DataType kBool = 11;
inline constexpr protocol::DataType kBfloat16 = 15;

constexpr bool is_half(protocol::DataType dtype) { return dtype == kFloat16 || dtype == kBfloat16; }
constexpr bool is_complex(protocol::DataType dtype) { return dtype >= 8 && dtype <= 10; }
constexpr bool is_floating(protocol::DataType dtype) {
  return is_half(dtype) || dtype == kFloat32 || dtype == kFloat64;
}
// The type in which CUDA's kernels add up values of a floating or complex type.
constexpr std::uint64_t accumulation_size_bytes(protocol::DataType dtype) {
  if (is_half(dtype)) return 4;
  if (dtype == 8) return 8;  // complex half, in complex float
  return protocol::data_type_size_bytes(dtype);
}

constexpr std::uint64_t divide_up(std::uint64_t a, std::uint64_t b) { return (a + b - 1) / b; }
constexpr std::uint64_t round_up(std::uint64_t a, std::uint64_t multiple) {
  return divide_up(a, multiple) * multiple;
}

std::uint64_t element_count(const protocol::TensorLayout& layout);
// Of a dense copy.
std::uint64_t size_bytes(const protocol::TensorLayout& layout);
bool is_contiguous(const protocol::TensorLayout& layout);
// Four or five dimensions whose strides are channels-last and not contiguous as well.
bool is_channels_last(const protocol::TensorLayout& layout);
// A dimension counted from the end where it is negative; 0 where it isn't one of the tensor's.
std::size_t wrapped_dimension(std::int64_t dimension, const protocol::TensorLayout& layout);

class CallView {
 public:
  explicit CallView(const PlannedOperator& planned);

  const PlannedOperator& planned() const { return *planned_; }
  std::size_t argument_count() const { return planned_->plan.arguments.size(); }

  // nullptr where the argument is no tensor (or not there).
  const protocol::TensorLayout* tensor(std::size_t argument) const;
  // The tensors of a list, those that are none left out.
  std::vector<const protocol::TensorLayout*> tensors(std::size_t argument) const;
  // The values of a list of numbers; a single number is a list of one.
  std::vector<std::int64_t> integers(std::size_t argument) const;
  std::int64_t integer(std::size_t argument, std::int64_t otherwise) const;
  bool boolean(std::size_t argument, bool otherwise) const;
  double number(std::size_t argument, double otherwise) const;
  bool is_none(std::size_t argument) const;

  // Fresh outputs, lists taken apart. nullptr beyond the last.
  std::uint32_t output_count() const { return static_cast<std::uint32_t>(outputs_.size()); }
  const protocol::TensorLayout* output(std::size_t number) const;
  std::uint64_t output_size_bytes(std::size_t number) const;
  // An output, or the argument that is written in its place (out=). nullptr beyond the last.
  const protocol::TensorLayout* result(std::size_t number) const;
  // The layouts of the outputs may be known to the executor alone.
  bool knows_outputs() const { return !planned_->plan.describes_outputs; }

 private:
  const protocol::Argument* argument(std::size_t number) const;

  const PlannedOperator* planned_;
  std::vector<const protocol::TensorLayout*> outputs_;
};

}  // namespace torch_remote::emulator::workspace
