// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What is wrong with a mutant: one small defect of an executor, as a record. The table of 200 is
// drawn from a seed, from what executors do and what programs call, and from nothing that the
// conformance suite has; mutant_executor.h does what a record says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace torch_remote::mutants {

enum class Kind : std::uint8_t {
  kNone,  // no defect: the executor as it is
  kWrongResult,
  kLost,
  kRepeated,
  kReordered,
  kStaleRead,
  kWrongStride,
  kWrongDtype,
  kWrongAlias,
  kLeaked,
  kLateFree,
};

enum class Variation : std::uint8_t {
  kNone,
  // Wrong result: of one operator.
  kLastBit,           // of one element is flipped
  kNegated,           // one element
  kShifted,           // each element is the one behind it
  kElementLost,       // one element is 0
  kOperandTruncated,  // the last element of the first operand counts as 0
  kNumberChanged,     // a number among the arguments is another one
  kOperandsSwapped,   // of two operands of one layout
  kResultsSwapped,    // of two results of one layout
  // Lost, repeated and reordered: which commands.
  kWrite,
  kWriteAtOffset,
  kLargeWrite,
  kInPlaceCall,  // a call that writes arguments and makes nothing
  kCopy,         // a call of copy_
  kSeed,
  kGeneratorState,  // that is set
  kResizedBytes,    // those that a resize keeps
  kDraw,            // a call that draws random numbers
  kWriteShifted,    // repeated: one byte further
  // Stale reads: of what, and until when.
  kReadBeforeWrite,
  kReadBeforeInPlaceCall,
  kReadBeforeOptimizer,     // an in-place call on lists of tensors
  kReadCachedBesideWrites,  // answered as the first time, whatever was written since
  kReadCachedBesideCalls,   // answered as the first time, whatever calls have changed since
  kReadSecondHalfOld,       // of the bytes; the first half is right
  kOperandBeforeWrite,
  kOperandBeforeInPlaceCall,
  // Wrong strides: of one operator.
  kResultReversed,     // elements lie as if the dimensions were in reverse order
  kResultLastTwo,      // as if the last two were exchanged
  kResultFirstTwo,     // the first two
  kOperandContiguous,  // an operand with strides is read as if it had none
  kOperandFromStart,   // an operand within its storage is read from the storage's start
  // Wrong dtype: one operator computes in fewer bits.
  kBfloat16,
  kFloat16,
  kTenBits,  // of mantissa, with the exponents of the dtype
  // Wrong alias: of one operator.
  kInPlaceOnCopy,       // what it writes is a copy
  kOperandOverwritten,  // its result lies in its first operand
  kSharedWithOperand,   // what is later written to one of the two, is written to both
  kResultsShare,        // two results have the bytes of the first
  // Leaked: which frees are ignored. Late: all.
  kFree,
  kLargeFree,
  kDescribedFree,  // of a result whose shape the executor told
  kListFree,       // of an element of a list of results
  kReadFree,       // of what was read
};

// When an operator misbehaves.
enum class Condition : std::uint8_t {
  kAlways,
  kRepeatedCall,     // but not at the first call of a plan
  kOperandWithGaps,  // with a tensor argument that is not contiguous
  kOperandAtOffset,  // with one that does not begin at its storage's start
};

struct Mutation {
  Kind kind = Kind::kNone;
  Variation variation = Variation::kNone;
  Condition condition = Condition::kAlways;
  std::string operator_name{};  // "aten::add.Tensor"; empty: commands of any operator
  std::uint32_t which = 0;      // of the results; kNumberChanged: of the arguments
  std::uint64_t position = 0;   // of the element, modulo their number
  std::uint32_t every = 1;      // every how many commands of the variation's
  std::uint32_t delay = 0;      // how many commands later

  friend bool operator==(const Mutation&, const Mutation&) = default;
};

std::string_view name_of(Kind kind);
// What a program has to do to meet the mutant, as mutants count it: "calls.aten::add.Tensor",
// "commands.seed". Empty where every program does it.
std::string met_by(const Mutation& mutation);
// One line for people.
std::string describe(const Mutation& mutation);

inline constexpr std::uint64_t kDefaultSeed = 20;

// The 200 mutants of a seed: 80 wrong results, 15 lost, 15 repeated and 15 reordered commands, 20
// stale reads, 20 wrong strides, 10 wrong dtypes, 15 wrong aliases, 5 leaks, 5 late frees, in this
// order and no two alike.
std::vector<Mutation> draw_mutations(std::uint64_t seed = kDefaultSeed);

}  // namespace torch_remote::mutants
