// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The table of mutants, and the operators that it is drawn from.
#include "conformance/mutants/mutation.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <algorithm>
#include <cstddef>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "conformance/mutants/operators.h"

namespace torch_remote::mutants {
namespace {

TEST(MutationTest, HasSoManyOfEachKind) {
  std::map<Kind, std::size_t> counts;
  for (const Mutation& one : draw_mutations()) ++counts[one.kind];
  const std::map<Kind, std::size_t> expected = {{Kind::kWrongResult, 80}, {Kind::kLost, 15},
                                                {Kind::kRepeated, 15},    {Kind::kReordered, 15},
                                                {Kind::kStaleRead, 20},   {Kind::kWrongStride, 20},
                                                {Kind::kWrongDtype, 10},  {Kind::kWrongAlias, 15},
                                                {Kind::kLeaked, 5},       {Kind::kLateFree, 5}};
  EXPECT_EQ(counts, expected);
}

TEST(MutationTest, IsTheSameForTheSameSeed) {
  EXPECT_EQ(draw_mutations(3), draw_mutations(3));
  EXPECT_NE(draw_mutations(3), draw_mutations(4));
}

TEST(MutationTest, NoTwoAreAlike) {
  for (const std::uint64_t seed : {kDefaultSeed, std::uint64_t{1}, std::uint64_t{2}}) {
    std::set<std::string> described;
    for (const Mutation& one : draw_mutations(seed)) {
      EXPECT_TRUE(described.insert(describe(one)).second) << describe(one);
    }
  }
}

// What would be no change at all: done twice at once is done once.
TEST(MutationTest, NothingIsRepeatedThatIsIdempotent) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    for (const Mutation& one : draw_mutations(seed)) {
      const bool is_idempotent = one.variation == Variation::kWrite ||
                                 one.variation == Variation::kSeed ||
                                 one.variation == Variation::kCopy;
      if (one.kind != Kind::kRepeated || !is_idempotent) continue;
      EXPECT_GT(one.delay, 0u) << describe(one);
    }
  }
}

TEST(MutationTest, OperatorsFitTheirDefects) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    for (const Mutation& one : draw_mutations(seed)) {
      if (one.operator_name.empty()) continue;
      const auto found = std::ranges::find(operators(), one.operator_name, &Operator::name);
      ASSERT_NE(found, operators().end()) << describe(one);
      if (one.variation == Variation::kNumberChanged) {
        EXPECT_NE(std::ranges::find(found->numbers, one.which), found->numbers.end())
            << describe(one);
      }
      if (one.condition == Condition::kOperandWithGaps ||
          one.condition == Condition::kOperandAtOffset) {
        EXPECT_TRUE(found->has(kReads)) << describe(one);
      }
      EXPECT_TRUE(one.kind != Kind::kWrongDtype || found->has(kFloats)) << describe(one);
    }
  }
}

TEST(MutationTest, PyTorchHasTheOperators) {
  std::set<std::string_view> names;
  for (const Operator& one : operators()) {
    EXPECT_TRUE(names.insert(one.name).second) << one.name;
    const std::size_t dot = one.name.find('.');
    const std::string base(one.name.substr(0, dot));
    const std::string overload(dot == std::string_view::npos ? "" : one.name.substr(dot + 1));
    const auto handle = c10::Dispatcher::singleton().findSchema({base, overload});
    ASSERT_TRUE(handle) << one.name;
    for (const std::uint32_t number : one.numbers) {
      EXPECT_LT(number, handle->schema().arguments().size()) << one.name;
    }
  }
}

}  // namespace
}  // namespace torch_remote::mutants
