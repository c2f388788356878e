// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Which kind of kernels an operator runs: a table by its name, operator_classes.cpp.
#pragma once

#include <string_view>

namespace torch_remote::emulator {

// How an operator's kernels follow from its plan; operator_work.cpp has a function for each.
enum class OperatorKind {
  kNothing,  // views and allocations: no kernel
  kElementwise,
  kFill,  // writes only
  kRandom,
  kCopy,
  kReduction,
  kNormalization,  // a softmax or norm
  kLayerNormBackward,
  kBatchNorm,
  kProduct,
  kAttention,
  kConvolution,
  kPooling,
  kResampling,
  kConcatenation,
  kGather,         // reads rows by index
  kScatter,        // writes rows by index
  kSortedScatter,  // accumulates by index, deterministically: sorts the indices first
  kCompaction,     // nonzero, masked_select, unique: a size that depends on values
  kScan,
  kSort,
  kTopk,
  kForeach,  // one kernel over lists of tensors
  kFusedOptimizer,
  kRecurrent,
  kTransform,
  kLinearAlgebra,
  kLoss,  // a reduction over few numbers of each row
};

struct OperatorClass {
  std::string_view name;  // without "aten::", and without what marks variants
  OperatorKind kind = OperatorKind::kElementwise;
  // Kernels that the operator runs where it isn't one.
  double launches = 1;
  // How often it reads its inputs and writes its outputs, in all kernels.
  double reads = 1;
  double writes = 1;
  // Relative to the kind's own cost of arithmetic an element.
  double arithmetic = 1;
};

// The row of "aten::add_", "aten::add.out" and so on is that of "add". An operator without a row is
// elementwise.
const OperatorClass& operator_class(std::string_view name);

// "aten::add_" -> "add", "aten::_foreach_add_" -> "_foreach_add"
std::string_view base_name(std::string_view name);

}  // namespace torch_remote::emulator
