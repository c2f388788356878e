// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a session sees of an executor that isn't there.
#include "emulator/dry_channel.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <utility>
#include <vector>

#include "core/session/byte_program_for_test.h"
#include "core/session/session.h"
#include "core/transport/channel.h"

namespace torch_remote::emulator {
namespace {

using session::ByteProgram;
using session::Bytes;
using session::TensorId;

TEST(DryChannelTest, SaysThatItHasNoValues) {
  ByteProgram program(make_dry_channel({{"emulates", "T4"}}), "this process", 7);
  const auto& description = program.session().welcome().description;
  EXPECT_EQ(description.at("emulates"), "T4");
  EXPECT_EQ(description.at("values"), "none");
}

TEST(DryChannelTest, ReadsZerosOfEverySize) {
  ByteProgram program(make_dry_channel({}), "this process", 7);
  for (const std::size_t size : {0, 1, 16 * 1024, 16 * 1024 + 1, (3 << 20) + 5}) {
    const TensorId id = program.make(session::pattern(size));
    program.add(id, size, 1);
    EXPECT_EQ(program.read(id, size), Bytes(size)) << size;
  }
}

TEST(DryChannelTest, AnswersWithoutWaiting) {
  ByteProgram program(make_dry_channel({}), "this process", 7);
  program.session().turn().record_event(1, false);
  EXPECT_TRUE(program.session().query_event(1));
  program.session().synchronize_event(1);
  program.session().synchronize();
  EXPECT_TRUE(program.session().memory_statistics().empty());
  EXPECT_THROW(program.session().elapsed_time_ms(1, 1), session::OperationError);
}

TEST(DryChannelTest, NothingIsInFlightHoweverMuchIsCalled) {
  ByteProgram program(make_dry_channel({}), "this process", 7);
  for (int i = 0; i < 200'000; ++i) {
    const TensorId id = program.copy(i + 1, 64);
    program.session().free(id, 64);
  }
  program.session().synchronize();
  EXPECT_EQ(program.session().statistics().operations, 200'000u);
  EXPECT_EQ(program.session().statistics().storages, 0u);
}

// Passes everything on, and counts what is sent.
class CountingChannel final : public transport::Channel {
 public:
  CountingChannel(std::unique_ptr<transport::Channel> inner, int& sent)
      : inner_(std::move(inner)), sent_(sent) {}

  void send(transport::Message& message) override {
    ++sent_;
    inner_->send(message);
  }
  bool receive(transport::Message& message) override { return inner_->receive(message); }
  transport::ConnectionEvent next_event() override { return inner_->next_event(); }
  void wait(std::chrono::milliseconds timeout) override { inner_->wait(timeout); }
  void wake() override { inner_->wake(); }
  bool answers_at_once() const override { return inner_->answers_at_once(); }

 private:
  std::unique_ptr<transport::Channel> inner_;
  int& sent_;
};

TEST(DryChannelTest, GetsLargeBatchesAndWhatIsReadAtOnce) {
  int sent = 0;
  ByteProgram program(std::make_unique<CountingChannel>(make_dry_channel({}), sent), "this process",
                      7);
  const int before = sent;
  for (int i = 0; i < 1000; ++i) program.session().free(program.copy(i + 1, 64), 64);
  EXPECT_LE(sent - before, 10);
  const TensorId id = program.copy(1, 8);
  const int before_read = sent;
  EXPECT_EQ(program.read(id, 8), Bytes(8));
  EXPECT_GT(sent, before_read);
}

TEST(DryChannelTest, CopiesThatNobodyWaitsForAreDoneAtOnce) {
  ByteProgram program(make_dry_channel({}), "this process", 7);
  const TensorId id = program.copy(1, 64);
  const auto hold = std::make_shared<Bytes>(64, std::byte{1});
  program.session().read_later(id, 0, *hold, hold);
  EXPECT_EQ(*hold, Bytes(64));
  EXPECT_EQ(hold.use_count(), 1);
  const auto source = std::make_shared<Bytes>(64 * 1024);
  program.session().write_later(program.copy(2, source->size()), 0, *source, source);
  EXPECT_EQ(source.use_count(), 1);
}

TEST(DryChannelTest, RefusesToDescribeWhatDependsOnValues) {
  ByteProgram program(make_dry_channel({}), "this process", 7);
  EXPECT_THROW(program.describe(1, 10), session::OperationError);
}

// Seed and offset, 16 bytes, as CUDA's generators keep them.
TEST(DryChannelTest, GeneratorsKeepWhatTheyWereGiven) {
  ByteProgram program(make_dry_channel({}), "this process", 7);
  program.session().turn().seed(0, 0x0102030405060708);
  const std::vector<std::byte> seeded = program.session().generator_state(0);
  ASSERT_EQ(seeded.size(), 16u);
  EXPECT_EQ(seeded[0], std::byte{8});
  EXPECT_EQ(seeded[8], std::byte{0});
  const std::vector<std::byte> other(16, std::byte{9});
  program.session().turn().set_generator_state(3, other);
  EXPECT_EQ(program.session().generator_state(3), other);
  EXPECT_EQ(program.session().generator_state(0), seeded);
}

}  // namespace
}  // namespace torch_remote::emulator
