// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Random numbers come from the session's generators and from no other.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/native_dropout.h>
#include <ATen/ops/randn.h>
#include <cstdint>
#include <cstring>
#include <gtest/gtest.h>
#include <span>
#include <vector>

#include "core/executor/libtorch/executor_for_test.h"

namespace torch_remote::executor {
namespace {

class RandomTest : public LibtorchExecutorTest {
 protected:
  RandomTest() : state_before_(state_of_process()) {}
  ~RandomTest() override {
    EXPECT_EQ(state_before_, state_of_process()) << "the process' generator was used";
  }

  static std::vector<std::uint8_t> state_of_process() {
    const at::Tensor state = at::detail::getDefaultCPUGenerator().get_state();
    return {state.const_data_ptr<std::uint8_t>(),
            state.const_data_ptr<std::uint8_t>() + state.numel()};
  }

 private:
  std::vector<std::uint8_t> state_before_;
};

TEST_F(RandomTest, SeedsAndStatesDecideTheNumbers) {
  define("aten::normal_", "",
         {written(layout({8})), number(0), number(1), of_kind(ArgumentKind::kGenerator)},
         {argument()}, 0);
  define("aten::normal_", "", {written(layout({8})), number(0), number(1), none()}, {argument()},
         1);
  store(id(1), Floats(8));
  const auto draw = [&](std::uint64_t generator) {
    executor->call(0, Values(id(1), generator));
    return floats(id(1), 8);
  };
  executor->seed(0, 5);
  executor->seed(7, 5);
  const Floats first = draw(0);
  EXPECT_EQ(draw(7), first);
  const auto state = executor->generator_state(0);
  executor->call(1, Values(id(1)));  // no generator named: number 0
  const Floats second = floats(id(1), 8);
  EXPECT_EQ(draw(7), second);
  EXPECT_NE(first, second);
  executor->set_generator_state(0, state);
  EXPECT_EQ(draw(0), second);
  EXPECT_THROW(executor->set_generator_state(0, std::span(state).first(3)), ExecutorError);
}

TEST_F(RandomTest, OperatorsWithoutGeneratorUseTheSessions) {
  define("aten::rand", "", {integers({4}), none(), none(), of_kind(ArgumentKind::kDevice), none()},
         {fresh(layout({4}))}, 0);
  define("aten::randperm", "", {integer(9), integer(kInt64), none(), none(), none()},
         {fresh(layout({9}, kInt64))}, 1);
  executor->seed(0, 3);
  executor->call(0, Values(id(1)));
  executor->call(1, Values(id(2)));
  executor->seed(0, 3);
  executor->call(0, Values(id(3)));
  executor->call(1, Values(id(4)));
  EXPECT_EQ(floats(id(1), 4), floats(id(3), 4));
  EXPECT_EQ(load<std::int64_t>(id(2), 9), load<std::int64_t>(id(4), 9));
}

TEST_F(LibtorchExecutorTest, DropoutIsTheCpusWithTheSessionsGenerator) {
  const at::Tensor input = at::randn({64});
  store(id(1), input);
  std::uint64_t output = 10;
  for (const double p : {0.0, 0.3, 1.0}) {
    for (const bool train : {true, false}) {
      define("aten::native_dropout", "", {tensor(layout({64})), number(p), boolean(train)},
             {fresh(layout({64})), fresh(layout({64}, kBool))});
      executor->seed(0, 9);
      executor->call(0, Values(id(1), id(output), id(output + 1)));
      at::Generator process = at::detail::getDefaultCPUGenerator();
      process.set_current_seed(9);
      const auto [expected, mask] = at::native_dropout(input, p, train);
      EXPECT_TRUE(holds(id(output), expected)) << p << train;
      const auto drawn = load<std::uint8_t>(id(output + 1), 64);
      EXPECT_EQ(std::memcmp(drawn.data(), mask.const_data_ptr(), 64), 0) << p << train;
      output += 2;
    }
  }
}

TEST_F(RandomTest, DropoutLeavesTheProcessGeneratorAlone) {
  define("aten::native_dropout", "", {tensor(layout({64})), number(0.5), none()},
         {fresh(layout({64})), fresh(layout({64}, kBool))});
  store(id(1), Floats(64, 1.0f));
  executor->call(0, Values(id(1), id(2), id(3)));
}

}  // namespace
}  // namespace torch_remote::executor
