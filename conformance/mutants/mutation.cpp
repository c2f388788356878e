// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "conformance/mutants/mutation.h"

#include <array>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <random>
#include <span>
#include <utility>

#include "conformance/mutants/operators.h"

namespace torch_remote::mutants {
namespace {

// Numbers that are the same with every standard library, as those of its distributions are not.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : numbers_(seed) {}

  std::uint64_t number() { return numbers_(); }
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(numbers_() % count); }
  template <typename T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[below(values.size())];
  }
  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  std::mt19937_64 numbers_;
};

class Table {
 public:
  explicit Table(std::uint64_t seed) : draw_(seed) {}

  std::vector<Mutation> make();

 private:
  using Wanted = std::function<bool(const Operator&)>;

  // Of different operators; change sets what is special about the kind.
  void add_operators(Kind kind, std::initializer_list<Variation> variations, std::size_t count,
                     const Wanted& wanted, bool conditional);
  struct Commands {
    std::vector<Variation> variations;
    std::vector<std::uint32_t> every;
    std::vector<std::uint32_t> delays;
  };
  // Different combinations.
  void add_commands(Kind kind, const std::vector<Commands>& which, std::size_t count);
  void add_wrong_results();
  Mutation of_operator(Kind kind, Variation variation, const Operator& chosen, bool conditional);

  Draw draw_;
  std::vector<Mutation> table_;
};

bool is_in(const Operator& one, std::initializer_list<Group> groups) {
  for (const Group group : groups) {
    if (one.group == group) return true;
  }
  return false;
}

bool changes_one_result(Variation variation) {
  return variation == Variation::kLastBit || variation == Variation::kNegated ||
         variation == Variation::kShifted || variation == Variation::kElementLost;
}

std::vector<Mutation> Table::make() {
  using enum Variation;
  using enum Group;
  add_wrong_results();
  add_commands(Kind::kLost,
               {{{kWrite, kWriteAtOffset, kLargeWrite, kInPlaceCall, kCopy, kSeed, kGeneratorState,
                  kResizedBytes},
                 {1, 2, 3, 5},
                 {0}}},
               15);
  // A write, a copy or a seed that is done twice at once is done once: these come again later.
  add_commands(Kind::kRepeated,
               {{{kInPlaceCall, kDraw, kWriteShifted}, {1, 2, 3}, {0, 1, 3}},
                {{kWrite, kSeed, kCopy}, {1, 2, 3}, {1, 3}}},
               15);
  add_commands(Kind::kReordered, {{{kWrite, kInPlaceCall, kCopy, kSeed}, {1, 2, 3}, {1, 2, 4}}},
               15);
  add_commands(Kind::kStaleRead,
               {{{kReadBeforeWrite, kReadBeforeInPlaceCall, kReadBeforeOptimizer,
                  kReadCachedBesideWrites, kReadCachedBesideCalls, kReadSecondHalfOld,
                  kOperandBeforeWrite, kOperandBeforeInPlaceCall},
                 {1, 2, 3},
                 {0}}},
               20);
  const auto is_wide = [](const Operator& one) { return one.has(kWide); };
  const auto reads = [](const Operator& one) { return one.has(kReads); };
  add_operators(Kind::kWrongStride, {kResultReversed, kResultLastTwo, kResultFirstTwo}, 12, is_wide,
                /*conditional=*/false);
  add_operators(Kind::kWrongStride, {kOperandContiguous}, 5, reads, /*conditional=*/false);
  add_operators(Kind::kWrongStride, {kOperandFromStart}, 3, reads, /*conditional=*/false);
  add_operators(
      Kind::kWrongDtype, {kBfloat16, kFloat16, kTenBits}, 10,
      [](const Operator& one) { return one.has(kFloats); }, /*conditional=*/false);
  add_operators(
      Kind::kWrongAlias, {kInPlaceOnCopy}, 5,
      [](const Operator& one) {
        return is_in(one, {kInPlace, kOptimizer}) &&
               one.name.substr(0, one.name.find('.')).ends_with('_');
      },
      /*conditional=*/false);
  const auto makes = [](const Operator& one) {
    return one.has(kReads | kFloats) && is_in(one, {kForward, kBackward});
  };
  add_operators(Kind::kWrongAlias, {kOperandOverwritten}, 4, makes, /*conditional=*/false);
  add_operators(Kind::kWrongAlias, {kSharedWithOperand}, 3, makes, /*conditional=*/false);
  add_operators(
      Kind::kWrongAlias, {kResultsShare}, 3,
      [](const Operator& one) { return one.has(kAlikeResults); }, /*conditional=*/false);
  add_commands(Kind::kLeaked,
               {{{kFree, kLargeFree, kDescribedFree, kListFree, kReadFree}, {1, 3}, {0}}}, 5);
  add_commands(Kind::kLateFree, {{{kFree}, {1, 2}, {1, 2, 5, 20}}}, 5);
  return std::move(table_);
}

void Table::add_wrong_results() {
  using enum Variation;
  // So many of each group, and of each a different operator.
  const std::pair<Group, std::size_t> groups[] = {{Group::kForward, 36},
                                                  {Group::kInPlace, 10},
                                                  {Group::kBackward, 22},
                                                  {Group::kOptimizer, 12}};
  for (const auto& [group, count] : groups) {
    std::vector<const Operator*> pool;
    for (const Operator& one : operators()) {
      if (one.group == group) pool.push_back(&one);
    }
    draw_.shuffle(pool);
    for (std::size_t i = 0; i < count; ++i) {
      const Operator& chosen = *pool[i];
      std::vector<Variation> fitting = {kLastBit, kLastBit, kLastBit,     kNegated,
                                        kShifted, kShifted, kElementLost, kElementLost};
      if (chosen.has(kReads) && !chosen.has(kRandom)) fitting.push_back(kOperandTruncated);
      if (!chosen.numbers.empty()) fitting.insert(fitting.end(), 2, kNumberChanged);
      if (chosen.has(kNonCommutative) && group == Group::kForward)
        fitting.insert(fitting.end(), 2, kOperandsSwapped);
      if (chosen.has(kAlikeResults)) fitting.insert(fitting.end(), 2, kResultsSwapped);
      table_.push_back(of_operator(Kind::kWrongResult, fitting[draw_.below(fitting.size())], chosen,
                                   /*conditional=*/true));
    }
  }
}

Mutation Table::of_operator(Kind kind, Variation variation, const Operator& chosen,
                            bool conditional) {
  Mutation made{.kind = kind, .variation = variation, .operator_name = std::string(chosen.name)};
  made.position = draw_.number();
  // The first result is what the others accompany.
  const std::uint32_t result = draw_.below(4) == 0 ? 1 : 0;
  if (changes_one_result(variation)) made.which = result;
  const std::size_t luck = draw_.below(10);
  if (variation == Variation::kNumberChanged) {
    made.which = chosen.numbers[draw_.below(chosen.numbers.size())];
  } else if (conditional && luck == 0) {
    made.condition = Condition::kRepeatedCall;
  } else if (conditional && chosen.has(kReads) && luck == 1) {
    made.condition = Condition::kOperandWithGaps;
  } else if (conditional && chosen.has(kReads) && luck == 2) {
    made.condition = Condition::kOperandAtOffset;
  }
  return made;
}

void Table::add_operators(Kind kind, std::initializer_list<Variation> variations, std::size_t count,
                          const Wanted& wanted, bool conditional) {
  std::vector<const Operator*> pool;
  for (const Operator& one : operators()) {
    if (wanted(one)) pool.push_back(&one);
  }
  draw_.shuffle(pool);
  for (std::size_t i = 0; i < count; ++i) {
    table_.push_back(of_operator(kind, draw_.one_of(variations), *pool[i], conditional));
  }
}

void Table::add_commands(Kind kind, const std::vector<Commands>& which, std::size_t count) {
  std::vector<Mutation> all;
  for (const auto& [variations, every, delays] : which) {
    for (const Variation variation : variations) {
      for (const std::uint32_t nth : every) {
        for (const std::uint32_t delay : delays) {
          all.push_back({.kind = kind, .variation = variation, .every = nth, .delay = delay});
        }
      }
    }
  }
  draw_.shuffle(all);
  table_.insert(table_.end(), all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count));
}

constexpr std::array<std::string_view, 11> kKindNames = {
    "none",         "wrong result", "lost",        "repeated", "reordered", "stale read",
    "wrong stride", "wrong dtype",  "wrong alias", "leaked",   "late free"};

// In the order of Variation.
constexpr std::string_view kVariationNames[] = {"none",
                                                "the last bit of an element is flipped",
                                                "an element is negated",
                                                "elements are shifted by one",
                                                "an element is lost",
                                                "the last element of an operand is ignored",
                                                "a number is changed",
                                                "operands are swapped",
                                                "results are swapped",
                                                "writes",
                                                "writes behind a storage's start",
                                                "large writes",
                                                "calls in place",
                                                "copies",
                                                "seeds",
                                                "generator states",
                                                "bytes that a resize keeps",
                                                "calls that draw",
                                                "writes, one byte further",
                                                "reads see what was before a write",
                                                "reads see what was before a call in place",
                                                "reads see what was before an optimizer's call",
                                                "reads are cached in spite of writes",
                                                "reads are cached in spite of calls",
                                                "the second half of a read is old",
                                                "operands are those before a write",
                                                "operands are those before a call in place",
                                                "the result's dimensions are reversed",
                                                "the result's last dimensions are exchanged",
                                                "the result's first dimensions are exchanged",
                                                "an operand's strides are ignored",
                                                "an operand's offset is ignored",
                                                "computed in bfloat16",
                                                "computed in float16",
                                                "computed with ten bits of mantissa",
                                                "writes a copy of what it should write",
                                                "the result overwrites an operand",
                                                "the result shares later writes with an operand",
                                                "results share their bytes",
                                                "frees",
                                                "frees of 1 KiB and more",
                                                "frees of described results",
                                                "frees of elements of lists",
                                                "frees of what was read"};
static_assert(std::size(kVariationNames) == static_cast<std::size_t>(Variation::kReadFree) + 1);

constexpr std::array<std::string_view, 4> kConditionNames = {"", ", from a plan's second call on",
                                                             ", if an operand has gaps",
                                                             ", if an operand has an offset"};

}  // namespace

std::string_view name_of(Kind kind) { return kKindNames.at(static_cast<std::size_t>(kind)); }

std::string met_by(const Mutation& mutation) {
  if (!mutation.operator_name.empty()) return "calls." + mutation.operator_name;
  switch (mutation.variation) {
    case Variation::kCopy:
      return "calls.aten::copy_";
    case Variation::kSeed:
    case Variation::kDraw:
      return "commands.seed";
    case Variation::kGeneratorState:
      return "commands.set_generator_state";
    case Variation::kResizedBytes:
      return "commands.resize";
    default:
      return {};
  }
}

std::string describe(const Mutation& mutation) {
  std::string text(name_of(mutation.kind));
  if (mutation.kind == Kind::kNone) return text;
  text += ": ";
  if (!mutation.operator_name.empty()) text += mutation.operator_name + ", ";
  text += kVariationNames[static_cast<std::size_t>(mutation.variation)];
  if (mutation.which != 0) text += ", number " + std::to_string(mutation.which);
  if (mutation.every > 1) text += ", one of " + std::to_string(mutation.every);
  if (mutation.delay > 0) text += ", " + std::to_string(mutation.delay) + " commands later";
  text += kConditionNames.at(static_cast<std::size_t>(mutation.condition));
  return text;
}

std::vector<Mutation> draw_mutations(std::uint64_t seed) { return Table(seed).make(); }

}  // namespace torch_remote::mutants
