// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// One program with all that executors do, on executors with and without a defect: what it sees is
// the same without one, and different with each.
#include "conformance/mutants/mutant_executor.h"

#include <cstddef>
#include <cstdint>
#include <gtest/gtest.h>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/executor/libtorch/executor_for_test.h"

namespace torch_remote::mutants {
namespace {

using namespace torch_remote::executor;  // NOLINT(google-build-using-namespace): plans made by hand

// What a program can see of an executor: bytes, counts and errors, in order.
class Program : public LibtorchExecutorTest {
 public:
  explicit Program(std::unique_ptr<Executor> tested) : LibtorchExecutorTest(std::move(tested)) {}
  void TestBody() override {}

  std::vector<std::string> run() {
    define_plans();
    compute();
    write_and_resize();
    draw_numbers();
    free_everything();
    return std::move(seen_);
  }
  protocol::Numbers counts() { return executor->memory_statistics(); }
  std::int64_t acted() { return counts()["mutant.acted"]; }

 private:
  void define_plans() {
    const TensorLayout wide = layout({2, 3});
    TensorLayout transposed = layout({3, 2});
    transposed.strides = {1, 3};
    define("aten::sub", "Tensor",
           {tensor(wide), tensor(wide), of_kind(ArgumentKind::kVaryingInteger)}, {fresh(wide)}, 0);
    define("aten::add_", "Tensor", {written(wide), tensor(wide), integer(1)}, {argument()}, 1);
    define("aten::var_mean", "correction",
           {tensor(wide), integers({1}), integer(1), boolean(false)},
           {fresh(layout({2})), fresh(layout({2}))}, 2);
    define("aten::_foreach_add_", "Scalar",
           {list(ArgumentKind::kTensorList, {written(wide), written(wide)}), number(0.5)}, {}, 3);
    define("aten::copy_", "", {written(wide), tensor(wide), boolean(false)}, {argument()}, 4);
    define("aten::uniform_", "",
           {written(wide), number(0), number(1), of_kind(ArgumentKind::kGenerator)}, {argument()},
           5);
    define("aten::_foreach_add", "Scalar",
           {list(ArgumentKind::kTensorList, {tensor(wide), tensor(wide)}), number(2)},
           {list({fresh(wide), fresh(wide)})}, 6);
    define("aten::neg", "", {tensor(transposed)}, {fresh(layout({3, 2}))}, 7);
    define("aten::abs", "", {tensor(layout({2, 2}), 4)}, {fresh(layout({2, 2}))}, 8);
    executor->define_operator(9, hash_here("aten::nonzero", ""), "aten::nonzero", "");
    executor->define_plan(
        {.plan = 9, .operator_number = 9, .describes_outputs = true, .arguments = {tensor(wide)}});
  }

  void compute() {
    store(1, Floats{0.1F, 1.7F, -2.3F, 3.9F, 4.2F, 5.5F});
    store(2, Floats{2.1F, -3.3F, 6.1F, 0.7F, 0.3F, 1.1F});
    see({1, 2});
    for (const std::uint64_t result : {10, 11}) {
      call(0, Values(id(1), id(2), std::int64_t{1}, id(result)));
      see({result});
    }
    call(1, Values(id(1), id(2)));
    see({1, 2});
    call(4, Values(id(2), id(11)));
    call(2, Values(id(2), id(12), id(13)));
    see({2, 12, 13});
    call(3, Values(id(1), id(2)));
    see({1, 2});
    call(6, Values(id(1), id(2), id(14), id(15)));
    call(7, Values(id(1), id(16)));
    call(8, Values(id(1), std::uint32_t{2}, id(17)));
    see({14, 15, 16, 17, 1, 2});
    attempt([&] { executor->call_and_describe(9, id(18), Values(id(1))); });
    see({18});
  }

  void write_and_resize() {
    const Floats few{8.5F, 9.5F};
    attempt([&] { executor->write(id(10), 4, std::as_bytes(std::span(few))); });
    see({10, 1, 2});
    Floats many(10'000);
    std::iota(many.begin(), many.end(), 1.0F);
    store(20, many);
    see({20});
    attempt([&] { executor->resize(id(2), id(21), 40); });
    see({21, 10, 11});
  }

  void draw_numbers() {
    for (int i = 0; i < 2; ++i) {
      attempt([&] { executor->seed(0, 7); });
      draw();
      draw();
    }
    attempt([&] {
      const auto state = executor->generator_state(0);
      draw();
      executor->set_generator_state(0, state);
      draw();
      executor->set_generator_state(0, state);
      draw();
    });
  }
  void draw() {
    call(5, Values(id(1), std::uint64_t{0}));
    see({1});
  }

  void free_everything() {
    for (const std::uint64_t one : {1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21}) {
      executor->free(id(one));
      const auto numbers = executor->memory_statistics();
      seen_.push_back(std::to_string(numbers.at("active.all.current")) + " storages");
    }
  }

  void store(std::uint64_t number, const Floats& values) {
    attempt([&] { LibtorchExecutorTest::store(id(number), values); });
  }
  void call(std::uint32_t plan, const Values& values) {
    attempt([&] { executor->call(plan, values); });
  }
  void see(std::initializer_list<std::uint64_t> numbers) {
    for (const std::uint64_t number : numbers) {
      attempt([&] {
        std::size_t size_bytes = 24;  // of number 21 as well: those behind are undefined
        if (number == 12 || number == 13) size_bytes = 8;
        if (number == 17 || number == 18) size_bytes = 16;
        if (number == 20) size_bytes = 40'000;
        std::vector<std::byte> bytes(size_bytes);
        executor->read(id(number), 0, bytes);
        seen_.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      });
    }
  }
  template <typename Action>
  void attempt(Action action) {
    try {
      action();
    } catch (const std::exception& error) {
      seen_.emplace_back(error.what());
    }
  }

  std::vector<std::string> seen_;
};

std::unique_ptr<Executor> libtorch() {
  return libtorch_executor_factory({.thread_count = 1})(protocol::Hello{});
}

std::vector<std::string> seen_without_defect() { return Program(libtorch()).run(); }

Mutation of(Kind kind, Variation variation, std::string operator_name = "", std::uint32_t which = 0,
            std::uint32_t delay = 0) {
  return {.kind = kind,
          .variation = variation,
          .operator_name = std::move(operator_name),
          .which = which,
          .position = 4,
          .delay = delay};
}

// Each variation, with an operator of the program that shows it.
std::vector<Mutation> all_variations() {
  using enum Variation;
  std::vector<Mutation> all = {
      of(Kind::kWrongResult, kLastBit, "aten::sub.Tensor"),
      of(Kind::kWrongResult, kNegated, "aten::sub.Tensor"),
      of(Kind::kWrongResult, kShifted, "aten::sub.Tensor"),
      of(Kind::kWrongResult, kShifted, "aten::nonzero"),
      of(Kind::kWrongResult, kElementLost, "aten::sub.Tensor"),
      of(Kind::kWrongResult, kElementLost, "aten::_foreach_add_.Scalar", 1),
      of(Kind::kWrongResult, kOperandTruncated, "aten::sub.Tensor"),
      of(Kind::kWrongResult, kNumberChanged, "aten::sub.Tensor", 2),
      of(Kind::kWrongResult, kNumberChanged, "aten::var_mean.correction", 2),
      of(Kind::kWrongResult, kOperandsSwapped, "aten::sub.Tensor"),
      of(Kind::kWrongResult, kResultsSwapped, "aten::var_mean.correction"),
      of(Kind::kRepeated, kDraw),
      of(Kind::kRepeated, kWriteShifted),
      of(Kind::kWrongStride, kOperandContiguous, "aten::neg"),
      of(Kind::kWrongStride, kOperandFromStart, "aten::abs"),
      of(Kind::kWrongAlias, kInPlaceOnCopy, "aten::add_.Tensor"),
      of(Kind::kWrongAlias, kOperandOverwritten, "aten::sub.Tensor"),
      of(Kind::kWrongAlias, kSharedWithOperand, "aten::sub.Tensor"),
      of(Kind::kWrongAlias, kResultsShare, "aten::var_mean.correction"),
  };
  for (const Variation one : {kWrite, kWriteAtOffset, kLargeWrite, kInPlaceCall, kCopy, kSeed,
                              kGeneratorState, kResizedBytes}) {
    all.push_back(of(Kind::kLost, one));
  }
  // So late that something has come between that it undoes.
  all.push_back(of(Kind::kRepeated, kWrite, "", 0, /*delay=*/9));
  all.push_back(of(Kind::kRepeated, kInPlaceCall));
  all.push_back(of(Kind::kRepeated, kCopy, "", 0, /*delay=*/5));
  all.push_back(of(Kind::kRepeated, kSeed, "", 0, /*delay=*/3));
  for (const Variation one : {kWrite, kInPlaceCall, kCopy, kSeed})
    all.push_back(of(Kind::kReordered, one, "", 0, /*delay=*/1));
  for (const Variation one : {kReadBeforeWrite, kReadBeforeInPlaceCall, kReadBeforeOptimizer,
                              kReadCachedBesideWrites, kReadCachedBesideCalls, kReadSecondHalfOld,
                              kOperandBeforeWrite, kOperandBeforeInPlaceCall}) {
    all.push_back(of(Kind::kStaleRead, one));
  }
  for (const Variation one : {kResultReversed, kResultLastTwo, kResultFirstTwo})
    all.push_back(of(Kind::kWrongStride, one, "aten::sub.Tensor"));
  for (const Variation one : {kBfloat16, kFloat16, kTenBits})
    all.push_back(of(Kind::kWrongDtype, one, "aten::sub.Tensor"));
  for (const Variation one : {kFree, kLargeFree, kDescribedFree, kListFree, kReadFree})
    all.push_back(of(Kind::kLeaked, one));
  all.push_back(of(Kind::kLateFree, kFree, "", 0, /*delay=*/1));
  return all;
}

TEST(MutantExecutorTest, IsTheExecutorItselfWithoutADefect) {
  Program program(std::make_unique<MutantExecutor>(libtorch(), Mutation{}));
  EXPECT_TRUE(program.run() == seen_without_defect());
  EXPECT_EQ(program.acted(), 0);
}

TEST(MutantExecutorTest, ShowsEachDefectToAProgram) {
  const auto right = seen_without_defect();
  for (const Mutation& mutation : all_variations()) {
    Program program(std::make_unique<MutantExecutor>(libtorch(), mutation));
    // Not EXPECT_NE, which would show all bytes.
    EXPECT_FALSE(program.run() == right) << describe(mutation);
    EXPECT_GT(program.acted(), 0) << describe(mutation);
  }
}

TEST(MutantExecutorTest, TestsAllVariations) {
  std::vector<bool> tested(static_cast<std::size_t>(Variation::kReadFree) + 1);
  tested[0] = true;  // none
  for (const Mutation& one : all_variations())
    tested[static_cast<std::size_t>(one.variation)] = true;
  EXPECT_EQ(tested, std::vector<bool>(tested.size(), true));
}

TEST(MutantExecutorTest, AnOtherOperatorStaysAsItIs) {
  Program program(std::make_unique<MutantExecutor>(
      libtorch(), of(Kind::kWrongResult, Variation::kLastBit, "aten::mul.Tensor")));
  EXPECT_TRUE(program.run() == seen_without_defect());
  EXPECT_EQ(program.acted(), 0);
}

// How often the program's calls of an operator are wrong.
std::int64_t acted_with(const char* operator_name, Condition condition) {
  Mutation mutation = of(Kind::kWrongResult, Variation::kLastBit, operator_name);
  mutation.condition = condition;
  Program program(std::make_unique<MutantExecutor>(libtorch(), mutation));
  program.run();
  return program.acted();
}

TEST(MutantExecutorTest, ConditionsHold) {
  EXPECT_EQ(acted_with("aten::sub.Tensor", Condition::kAlways), 2);
  EXPECT_EQ(acted_with("aten::sub.Tensor", Condition::kRepeatedCall), 1);
  EXPECT_EQ(acted_with("aten::neg", Condition::kOperandWithGaps), 1);
  EXPECT_EQ(acted_with("aten::sub.Tensor", Condition::kOperandWithGaps), 0);
  EXPECT_EQ(acted_with("aten::abs", Condition::kOperandAtOffset), 1);
  EXPECT_EQ(acted_with("aten::neg", Condition::kOperandAtOffset), 0);
}

TEST(MutantExecutorTest, CountsWhatItIsAskedFor) {
  Program program(std::make_unique<MutantExecutor>(libtorch(), Mutation{}));
  program.run();
  const auto numbers = program.counts();
  EXPECT_EQ(numbers.at("calls.aten::sub.Tensor"), 2);
  EXPECT_EQ(numbers.at("calls.aten::uniform_"), 7);
  EXPECT_EQ(numbers.at("commands.seed"), 2);
  EXPECT_EQ(numbers.at("active.all.current"), 0);
}

TEST(MutantExecutorTest, TheFirstDeviceIsWithoutADefect) {
  const auto factory = mutant_executor_factory(
      libtorch_executor_factory({.thread_count = 1}),
      {of(Kind::kLost, Variation::kWrite), of(Kind::kLeaked, Variation::kFree)});
  const auto described = [&](std::uint32_t device) {
    const auto executor = factory({.device_index = device});
    EXPECT_EQ(executor->device_count(), 3u);
    return executor->describe().at("mutant");
  };
  EXPECT_EQ(described(0), "none");
  EXPECT_EQ(described(1), "lost: writes");
  EXPECT_EQ(described(2), "leaked: frees");
}

}  // namespace
}  // namespace torch_remote::mutants
