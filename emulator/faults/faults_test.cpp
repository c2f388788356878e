// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Faults in front of a session on an executor that computes on bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/session/byte_program_for_test.h"
#include "core/session/errors.h"
#include "emulator/faults/fault_channel.h"
#include "emulator/faults/fault_observer.h"

namespace torch_remote::emulator {
namespace {

using session::ByteProgram;
using session::pattern;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

// Counts what gets through to the models.
class Models final : public session::SessionObserver {
 public:
  void call(const session::ObservedCall& call) override {
    ++calls;
    live += static_cast<int>(call.outputs.size());
  }
  void allocate(const session::NewStorage&, std::uint32_t, std::uint32_t) override { ++live; }
  void free(session::TensorId, std::uint64_t) noexcept override { --live; }
  std::optional<protocol::Numbers> memory_statistics() override {
    return protocol::Numbers{{"free_bytes", 1024}, {"total_bytes", 2048}};
  }

  int calls = 0;
  int live = 0;
};

// A session with the faults in front of it, both in the observer and in the channel.
class Faulty {
 public:
  explicit Faulty(std::vector<Fault> faults,
                  std::chrono::microseconds delay = std::chrono::microseconds(0))
      : plan(std::make_shared<FaultPlan>(std::move(faults), delay)) {
    auto observer = std::make_shared<FaultObserver>(plan, models, 3);
    // The program has said so already, before there was an observer.
    for (const std::uint32_t number : {0U, 1U, 2U, 3U}) {
      const std::string names[] = {"test::copy", "test::add_bytes", "test::fail", "test::describe"};
      observer->define_operator(number, names[number], "");
    }
    program.session().set_observer(std::move(observer));
    x = program.make(pattern(16));
    plan->start();
  }

  std::shared_ptr<FaultPlan> plan;
  std::shared_ptr<Models> models = std::make_shared<Models>();
  executor::InProcessExecutor executor{executor::byte_executor_factory()};
  std::uint64_t session_id = session::next_session_id();
  ByteProgram program{
      std::make_unique<FaultChannel>(
          transport::connect_channel(executor.context(), executor.endpoint(), session_id), plan),
      executor.endpoint(), session_id};
  session::TensorId x = 0;
};

Fault fault(Fault::Kind kind, std::uint64_t at, std::string name = "") {
  return {.kind = kind, .at = at, .operator_name = std::move(name), .message = "it was asked for"};
}

TEST(FaultsTest, TheNthAllocationIsRefusedOnce) {
  Faulty faulty({fault(Fault::Kind::kOutOfMemory, 2)});
  faulty.program.copy(faulty.x, 16);
  EXPECT_THAT([&] { faulty.program.copy(faulty.x, 16); },
              ThrowsMessage<session::OutOfMemory>(
                  HasSubstr("Tried to allocate 16 bytes. GPU 3 has a total capacity of 2.00 KiB of "
                            "which 1024 bytes is free. This is a fault that was asked for: the "
                            "program's allocation 2")));
  EXPECT_EQ(faulty.models->live, 2);
  const session::TensorId y = faulty.program.copy(faulty.x, 16);
  EXPECT_EQ(faulty.program.read(y, 16), pattern(16));
  EXPECT_THAT(faulty.plan->happened(), ElementsAre(0));
  EXPECT_EQ(faulty.plan->allocations(), 3);
}

TEST(FaultsTest, AnOperatorFailsAtItsNthCall) {
  Faulty faulty({fault(Fault::Kind::kFailure, 2, "test::add_bytes")});
  faulty.program.copy(faulty.x, 16);
  faulty.program.add(faulty.x, 16, 1);
  EXPECT_THAT([&] { faulty.program.add(faulty.x, 16, 1, /*location=*/9); },
              ThrowsMessage<session::OperationError>(HasSubstr("it was asked for")));
  EXPECT_EQ(faulty.models->calls, 2);
  faulty.program.add(faulty.x, 16, 1);
  EXPECT_EQ(faulty.program.read(faulty.x, 16), pattern(16, 2));  // two of three additions
}

TEST(FaultsTest, TheExecutorEndsTheSession) {
  Faulty faulty({fault(Fault::Kind::kEnd, 3)});
  const auto lost = ThrowsMessage<session::SessionLost>(HasSubstr("it was asked for"));
  faulty.program.add(faulty.x, 16, 1);
  const session::TensorId y = faulty.program.copy(faulty.x, 16);
  EXPECT_THAT([&] { faulty.program.add(faulty.x, 16, 1); }, lost);
  EXPECT_THAT([&] { faulty.program.read(y, 16); }, lost);
  EXPECT_THAT([&] { faulty.program.make(pattern(16)); }, lost);
  EXPECT_THAT([&] { faulty.program.session().synchronize(); }, lost);
  // What no observer sees ends by the executor's own word.
  EXPECT_THAT([&] { faulty.program.session().memory_statistics(); }, lost);
  faulty.program.session().close();
}

TEST(FaultsTest, ACutConnectionChangesNoByte) {
  std::vector<Fault> cuts;
  for (const std::uint64_t at : {2, 40, 41, 90}) {
    cuts.push_back(fault(Fault::Kind::kCut, at));
    cuts.back().duration = std::chrono::milliseconds(at % 20);
  }
  Faulty faulty(cuts);
  session::Bytes expected = pattern(16);
  for (int i = 0; i < 100; ++i) {
    faulty.program.add(faulty.x, 16, 1);
    for (std::byte& byte : expected) byte = static_cast<std::byte>(std::to_integer<int>(byte) + 1);
    if (i % 10 == 0) {
      ASSERT_EQ(faulty.program.read(faulty.x, 16), expected) << i;
    }
  }
  EXPECT_EQ(faulty.program.read(faulty.x, 16), expected);
  EXPECT_THAT(faulty.plan->happened(), ElementsAre(0, 1, 2, 3));
}

TEST(FaultsTest, SlowRepliesArriveLateAndWhole) {
  Faulty faulty({}, std::chrono::milliseconds(20));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(faulty.program.read(faulty.x, 16), pattern(16));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(20));
}

TEST(FaultsTest, NothingHappensBeforeTheStart) {
  FaultPlan plan({fault(Fault::Kind::kFailure, 1)});
  auto models = std::make_shared<Models>();
  FaultObserver observer(std::make_shared<FaultPlan>(plan.faults()), models, 0);
  observer.define_operator(0, "aten::mm", "");
  observer.define_plan({.plan = 0, .operator_number = 0});
  observer.call({.plan = 0});
  EXPECT_EQ(models->calls, 1);
  EXPECT_EQ(without_faults(std::make_shared<FaultObserver>(
                std::make_shared<FaultPlan>(plan.faults()), models, 0)),
            models);
  EXPECT_EQ(without_faults(models), models);
  EXPECT_THROW(FaultPlan({fault(Fault::Kind::kFailure, 0)}), std::invalid_argument);
}

}  // namespace
}  // namespace torch_remote::emulator
