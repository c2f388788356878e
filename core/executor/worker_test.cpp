// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The executor's end of a session against clients that break the rules, one rule at a time.
#include "core/executor/worker.h"

#include <future>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>

#include "core/executor/byte_executor_for_test.h"
#include "core/executor/in_process.h"
#include "core/executor/null_executor.h"
#include "core/executor/raw_client_for_test.h"
#include "core/protocol/samples_for_test.h"

namespace torch_remote::executor {
namespace {

using protocol::CommandWriter;
using protocol::MessageKind;
using protocol::RefusalCode;
using testing::ElementsAre;
using testing::HasSubstr;
using transport::Message;

constexpr TensorId kId = protocol::kSampleId;

class WorkerTest : public testing::Test {
 protected:
  void start(ExecutorFactory factory = byte_executor_factory()) {
    executor_.emplace(std::move(factory));
    client_.emplace(*executor_->context(), InProcessExecutor::endpoint());
  }
  void open(ExecutorFactory factory = byte_executor_factory()) {
    start(std::move(factory));
    client_->open();
  }
  // Defines plan 0: add_bytes on 8 bytes.
  static void define_add(CommandWriter& writer) {
    writer.define_operator(0, 0, "test::add_bytes", "");
    protocol::ByteWriter plan;
    put_plan(plan, {.arguments = {{.kind = protocol::ArgumentKind::kTensor,
                                   .access = protocol::Access::kWrite,
                                   .layout = {.sizes = {8}, .strides = {1}}},
                                  {.kind = protocol::ArgumentKind::kVaryingInteger}}});
    writer.define_plan(plan.bytes());
  }
  static void call_add(CommandWriter& writer, std::uint64_t amount) {
    const std::uint64_t values[] = {kId, amount};
    std::memcpy(writer.call(0, sizeof(values)), values, sizeof(values));
  }
  static protocol::ReplyRecorder replies_of(const Message& message) {
    protocol::ReplyRecorder recorder;
    for_each_reply(message.body(), recorder);
    return recorder;
  }
  void expect_refusal(const CommandWriter& writer, const char* reason,
                      const std::vector<std::vector<std::byte>>& payload = {}) {
    open();
    client_->commands(writer, payload);
    const protocol::Refusal refusal = client_->take_refusal();
    EXPECT_EQ(refusal.code, RefusalCode::kMalformed);
    EXPECT_THAT(refusal.reason, HasSubstr(reason));
    client_.reset();
  }

  std::optional<InProcessExecutor> executor_;
  std::optional<RawClient> client_;
};

TEST_F(WorkerTest, ASessionBeginsWithAHello) {
  start();
  client_->commands(CommandWriter());
  EXPECT_EQ(client_->take_refusal().code, RefusalCode::kUnknownSession);
}

TEST_F(WorkerTest, AMalformedHelloIsRefused) {
  start();
  client_->send({.kind = MessageKind::kHello}, std::vector<std::byte>(5));
  EXPECT_EQ(client_->take_refusal().code, RefusalCode::kMalformed);
}

TEST_F(WorkerTest, LimitsThatDoNotFitTheMemoryEndTheSessionAlone) {
  class Boundless final : public ByteExecutor {
   public:
    using ByteExecutor::ByteExecutor;
    protocol::Limits limits() const override { throw std::length_error("too many plans"); }
  };
  start([](const protocol::Hello&) { return std::make_unique<Boundless>(ByteExecutorOptions{}); });
  client_->hello();
  const protocol::Refusal refusal = client_->take_refusal();
  EXPECT_EQ(refusal.code, RefusalCode::kUnavailable);
  EXPECT_EQ(refusal.reason, "too many plans");
}

TEST_F(WorkerTest, MalformedCommandsEndTheSessionWithAReason) {
  const auto raw_plan = [](std::uint32_t plan, std::uint32_t operator_number) {
    protocol::ByteWriter writer;
    put_plan(writer, {.plan = plan, .operator_number = operator_number});
    return std::vector<std::byte>(writer.bytes().begin(), writer.bytes().end());
  };
  const std::pair<std::function<void(CommandWriter&)>, const char*> cases[] = {
      {[](auto& to) { to.define_operator(8192, 0, "x", ""); }, "operator number beyond"},
      {[&](auto& to) { to.define_plan(raw_plan(16384, 0)); }, "plan number beyond"},
      {[&](auto& to) { to.define_plan(raw_plan(0, 3)); }, "operator that was not defined"},
      {[](auto& to) { to.call(0, 0); }, "plan that was not defined"},
      {[](auto& to) { to.call(0xFFFFFFFF, 0); }, "plan that was not defined"},
      {[](auto& to) { define_add(to), to.call(0, 12); }, "does not fit its plan"},
      {[](auto& to) { define_add(to), to.call_and_describe(0, 1, 1, 16); },
       "does not fit its plan"},
      {[](auto& to) { to.read(1, kId, 0, (64u << 20) + 1); }, "longer than a message"},
      {[](auto& to) { to.write_frames(kId, 0, 8, 1); }, "a payload frame is missing"},
  };
  for (const auto& [append, reason] : cases) {
    CommandWriter writer;
    append(writer);
    expect_refusal(writer, reason);
  }
}

TEST_F(WorkerTest, PayloadFramesHaveToFitTheirWrite) {
  for (const auto& [size_bytes, reason] :
       {std::pair{7u, "payload frames are too long"}, {9u, "payload frames are too short"}}) {
    CommandWriter writer;
    writer.allocate(kId, 16);
    writer.write_frames(kId, 0, size_bytes, 1);
    expect_refusal(writer, reason, {std::vector<std::byte>(8)});
  }
}

TEST_F(WorkerTest, AnAcknowledgementOfWhatWasNeverSentIsRefused) {
  open();
  client_->send({.kind = MessageKind::kAcknowledge, .acknowledged = 1});
  EXPECT_THAT(client_->take_refusal().reason, HasSubstr("never sent"));
}

TEST_F(WorkerTest, DuplicatesAreDroppedAndGapsAskedForOnce) {
  open();
  CommandWriter first;
  define_add(first);
  first.allocate(kId, 8);
  first.write(kId, 0, std::vector<std::byte>(8));
  call_add(first, 1);
  client_->commands_again(1, first);
  client_->commands_again(1, first);
  CommandWriter second;
  call_add(second, 10);
  CommandWriter third;
  third.read(5, kId, 0, 8);
  client_->commands_again(3, third);
  client_->commands_again(3, third);
  const Message resumed = client_->take(MessageKind::kResumed);
  EXPECT_EQ(resumed.envelope.sequence, 2u);
  EXPECT_EQ(resumed.envelope.acknowledged, 1u);
  client_->commands_again(2, second);
  client_->commands_again(3, third);
  // The next one is the answer: the second message out of order was not asked for again.
  Message answer = client_->take();
  while (answer.envelope.kind == MessageKind::kAcknowledge) answer = client_->take();
  ASSERT_EQ(answer.envelope.kind, MessageKind::kReplies);
  EXPECT_THAT(replies_of(answer).lines, ElementsAre("bytes 5 8"));
  EXPECT_EQ(answer.body().back(), std::byte{11}) << "each call was executed once";
}

TEST_F(WorkerTest, ResumeReplaysTheRepliesThatWereLost) {
  open();
  for (protocol::Token token = 1; token <= 3; ++token) {
    CommandWriter writer;
    writer.synchronize(token);
    client_->commands(writer);
    EXPECT_EQ(client_->take(MessageKind::kReplies).envelope.sequence, token);
  }
  client_->send({.kind = MessageKind::kResume, .acknowledged = 1});
  const Message resumed = client_->take(MessageKind::kResumed);
  EXPECT_EQ(resumed.envelope.sequence, 4u);
  for (const std::uint64_t sequence : {2, 3}) {
    const Message again = client_->take(MessageKind::kReplies);
    EXPECT_EQ(again.envelope.sequence, sequence);
    EXPECT_THAT(replies_of(again).lines, ElementsAre("synchronized " + std::to_string(sequence)));
  }
  client_->send({.kind = MessageKind::kResume, .acknowledged = 9});
  EXPECT_THAT(client_->take_refusal().reason, HasSubstr("never sent"));
}

TEST_F(WorkerTest, AnIdleExecutorHasAcknowledgedEverything) {
  open();
  CommandWriter writer;
  writer.allocate(kId, 8);
  client_->commands(writer);
  EXPECT_EQ(client_->take(MessageKind::kAcknowledge).envelope.acknowledged, 1u);
}

TEST_F(WorkerTest, AFailedWriteTakesItsOtherFramesWithIt) {
  open();
  CommandWriter writer;
  writer.allocate(kId, 12);
  writer.write_frames(kId, 0, 16, 2);
  writer.read(1, kId, 0, 4);
  client_->commands(writer, {std::vector<std::byte>(8), std::vector<std::byte>(8)});
  const auto replies = replies_of(client_->take(MessageKind::kReplies));
  EXPECT_THAT(replies.lines, ElementsAre("failure", "failed 1"));
  EXPECT_EQ(replies.failures[0].operator_name, "write");
  EXPECT_EQ(replies.failures[0], replies.failures[1]);
}

TEST_F(WorkerTest, StoragesBeyondTheLimitFailAndLeaveNothing) {
  const auto count = std::make_shared<std::atomic<std::size_t>>(0);
  open(byte_executor_factory({.limits = {.storage_size_bytes_max = 100}, .storage_count = count}));
  CommandWriter writer;
  writer.allocate(kId, 101);
  writer.allocate(kId + 512, 100);
  writer.resize(kId + 512, kId + 1024, 101);
  writer.read(1, kId + 1024, 0, 4);
  client_->commands(writer);
  const auto replies = replies_of(client_->take(MessageKind::kReplies));
  EXPECT_THAT(replies.lines, ElementsAre("failure", "failure", "failed 1"));
  EXPECT_EQ(replies.failures[0].operator_name, "allocate");
  EXPECT_EQ(replies.failures[1].operator_name, "resize");
  EXPECT_EQ(*count, 0u) << "the storage whose resize failed is gone";
}

TEST_F(WorkerTest, AFailedStorageOfNumberZeroConcernsNothingElse) {
  open();
  CommandWriter writer;
  writer.write(0, 0, std::vector<std::byte>(8));
  writer.set_generator_state(0, std::vector<std::byte>(3));  // which is none, as is told
  writer.read(1, 0, 0, 4);
  client_->commands(writer);
  const auto replies = replies_of(client_->take(MessageKind::kReplies));
  ASSERT_THAT(replies.lines, ElementsAre("failure", "failure", "failed 1"));
  EXPECT_EQ(replies.failures[1].operator_name, "set generator state");
  EXPECT_EQ(replies.failures[2], replies.failures[0]);
}

TEST_F(WorkerTest, AFailedTensorStaysFailedWhenItIsResized) {
  open();
  CommandWriter writer;
  writer.allocate(kId, 8);
  writer.write(kId, 4, std::vector<std::byte>(8));
  writer.resize(kId, kId + 512, 16);
  writer.read(1, kId + 512, 0, 8);
  writer.read(2, kId, 0, 8);
  client_->commands(writer);
  const auto replies = replies_of(client_->take(MessageKind::kReplies));
  ASSERT_THAT(replies.lines, ElementsAre("failure", "failed 1", "failed 2"));
  EXPECT_EQ(replies.failures[1], replies.failures[0]);
  EXPECT_THAT(replies.failures[2].message, HasSubstr("no storage"));
}

TEST_F(WorkerTest, ManyReadsAreAnsweredInSeveralMessages) {
  open();
  CommandWriter writer;
  writer.allocate(kId, 16 * 1024);
  for (protocol::Token token = 0; token < 1200; ++token) writer.read(token, kId, 0, 16 * 1024);
  client_->commands(writer);
  std::size_t answers = 0;
  int messages = 0;
  for (; answers < 1200 && !HasFailure(); ++messages) {
    const Message message = client_->take(MessageKind::kReplies);
    EXPECT_LT(message.size_bytes(), 9u << 20);
    answers += replies_of(message).lines.size();
  }
  EXPECT_EQ(messages, 3);
}

TEST_F(WorkerTest, GoodbyeEndsTheExecutor) {
  std::promise<void> ended;
  open(byte_executor_factory({.at_end = [&] { ended.set_value(); }}));
  client_->send({.kind = MessageKind::kGoodbye});
  EXPECT_EQ(ended.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

TEST_F(WorkerTest, DestroyingTheExecutorEndsItsThread) {
  open();
  const auto context = executor_->context();  // outlives the client's socket, as a session's does
  executor_.reset();
  client_.reset();
}

TEST_F(WorkerTest, TheNullExecutorReadsZerosAndCanNotDescribe) {
  open(null_executor_factory());
  CommandWriter writer;
  writer.define_operator(0, 0, "aten::nonzero", "");
  protocol::ByteWriter plan;
  put_plan(plan, {.describes_outputs = true});
  writer.define_plan(plan.bytes());
  writer.read(1, kId, 0, 100);
  writer.call_and_describe(0, 2, kId, 0);
  writer.synchronize(3);
  client_->commands(writer);
  const auto replies = replies_of(client_->take(MessageKind::kReplies));
  EXPECT_THAT(replies.lines, ElementsAre("bytes 1 100", "failed 2", "synchronized 3"));
  EXPECT_EQ(replies.failures[0].kind, protocol::ErrorKind::kNotImplemented);
  EXPECT_EQ(replies.failures[0].operator_name, "aten::nonzero");
}

}  // namespace
}  // namespace torch_remote::executor
