// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What an observer sees of a session, what it may refuse, and what it answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/session/byte_program_for_test.h"
#include "core/session/session.h"

namespace torch_remote::session {
namespace {

using testing::ElementsAre;

class Log final : public SessionObserver {
 public:
  explicit Log(std::uint64_t budget_bytes = 1000) : left_bytes_(budget_bytes) {}

  std::vector<std::string> take() { return std::exchange(lines_, {}); }

  void define_plan(const protocol::PlanDefinition& definition) override {
    add("plan", definition.arguments.size(), definition.outputs.size());
  }
  void call(const ObservedCall& call) override {
    add("call", call.values.size(), call.outputs.size(), call.location);
    for (const NewStorage& output : call.outputs) take_bytes(output.size_bytes);
  }
  void allocate(const NewStorage& storage, std::uint32_t stream, std::uint32_t location) override {
    add("allocate", storage.size_bytes, stream, location);
    take_bytes(storage.size_bytes);
  }
  void free(TensorId /*id*/, std::uint64_t size_bytes) noexcept override {
    add("free", size_bytes);
    left_bytes_ += size_bytes;
  }
  void resize(TensorId /*id*/, TensorId /*new_id*/, std::uint32_t stream) override {
    add("resize", stream);
  }
  void copy(const ObservedCopy& copy) override {
    std::string name = copy.is_to_device ? "write" : "read";
    if (copy.is_pinned) name += " pinned";
    if (!copy.is_blocking) name += " later";
    add(name, copy.offset_bytes, copy.size_bytes, copy.stream, copy.location);
    if (copy.location == kForbidden) throw std::runtime_error("no values here");
  }
  void synchronize() override { add("synchronize"); }
  void record_event(EventId event, std::uint32_t stream, bool /*with_time*/) override {
    add("record", event, stream);
  }
  void wait_event(EventId event, std::uint32_t stream) override { add("wait", event, stream); }
  std::optional<bool> query_event(EventId event) override { return event > 1; }
  std::optional<double> elapsed_time_ms(EventId start, EventId end) override {
    if (start == 0) return std::nullopt;
    return static_cast<double>(end - start);
  }

  std::optional<ModelledSpan> last_span() override {
    if (!has_clock) return std::nullopt;
    const auto count = static_cast<std::int64_t>(lines_.size());
    return ModelledSpan{.host_start_ns = count, .gpu_end_ns = 10 * count};
  }
  std::optional<ModelledTime> modelled_time() override {
    return has_clock ? std::optional(ModelledTime{.host_us = 1, .gpu_us = 2, .gpu_busy_us = 3})
                     : std::nullopt;
  }

  static constexpr std::uint32_t kForbidden = 77;
  bool has_clock = false;

 private:
  template <typename... Numbers>
  void add(std::string line, Numbers... numbers) {
    ((line += " " + std::to_string(numbers)), ...);
    lines_.push_back(std::move(line));
  }
  void take_bytes(std::uint64_t size_bytes) {
    if (size_bytes > left_bytes_) throw std::runtime_error("over budget");
    left_bytes_ -= size_bytes;
  }

  std::uint64_t left_bytes_;
  std::vector<std::string> lines_;
};

class SessionObserverTest : public testing::Test {
 protected:
  SessionObserverTest() { program_.session().set_observer(log_); }

  std::shared_ptr<Log> log_ = std::make_shared<Log>();
  InProcessProgram program_;
};

TEST_F(SessionObserverTest, SeesEachCommandBeforeItIsSent) {
  const TensorId x = program_.session().turn(2).allocate(60, 5);
  program_.session().write(x, 10, pattern(50), 2, 6);
  EXPECT_THAT(log_->take(), ElementsAre("allocate 60 2 5", "write 10 50 2 6"));
  const TensorId y = program_->copy(x, 60, 7);
  EXPECT_THAT(log_->take(), ElementsAre("plan 1 1", "call 16 1 7"));
  program_->add(y, 60, 1, 8);
  program_->add(y, 60, 1, 9);
  EXPECT_THAT(log_->take(), ElementsAre("plan 2 0", "call 16 0 8", "call 16 0 9"));
  program_->read(y, 30);
  program_.session().free(x, 60);
  program_.session().synchronize();
  EXPECT_THAT(log_->take(), ElementsAre("read 0 30 0 0", "free 60", "synchronize"));
}

TEST_F(SessionObserverTest, SeesLargeCopiesOnce) {
  log_ = std::make_shared<Log>(std::uint64_t{1} << 40);
  program_.session().set_observer(log_);
  const TensorId x = program_.session().turn().allocate(70 << 20);
  program_.session().write(x, 0, pattern(70 << 20));
  EXPECT_EQ(program_->read(x, 70 << 20), pattern(70 << 20));
  EXPECT_THAT(log_->take(),
              ElementsAre("allocate 73400320 0 0", "write 0 73400320 0 0", "read 0 73400320 0 0"));
}

TEST_F(SessionObserverTest, KnowsTheMemoryOfACopyAndWhetherTheProgramWaits) {
  const TensorId x = program_->make(pattern(100));
  log_->take();
  Bytes bytes = pattern(100);
  const auto hold = std::make_shared<int>();
  program_.session().write(x, 0, bytes, 0, 0, /*is_pinned=*/true);
  program_.session().write_later(x, 0, bytes, hold);
  program_.session().read(x, 0, bytes, 0, 0, /*is_pinned=*/true);
  program_.session().read_later(x, 0, bytes, hold);
  program_.session().synchronize();
  EXPECT_THAT(log_->take(),
              ElementsAre("write pinned 0 100 0 0", "write pinned later 0 100 0 0",
                          "read pinned 0 100 0 0", "read pinned later 0 100 0 0", "synchronize"));
}

TEST_F(SessionObserverTest, TellsTimesByItsClock) {
  const TensorId x = program_->make(pattern(100));
  Bytes bytes = pattern(100);
  EXPECT_FALSE(program_.session().modelled_time());
  EXPECT_FALSE(program_.session().write(x, 0, bytes));
  EXPECT_FALSE(program_.session().turn().modelled_span());
  log_->has_clock = true;
  log_->take();
  const auto written = program_.session().write(x, 0, bytes);
  ASSERT_TRUE(written);
  EXPECT_EQ(written->host_start_ns, 1);
  EXPECT_EQ(program_.session().read(x, 0, bytes)->gpu_end_ns, 20);
  const auto hold = std::make_shared<int>();
  EXPECT_EQ(program_.session().write_later(x, 0, bytes, hold)->gpu_end_ns, 30);
  EXPECT_EQ(program_.session().read_later(x, 0, bytes, hold)->gpu_end_ns, 40);
  EXPECT_EQ(program_.session().turn().modelled_span()->gpu_end_ns, 40);
  EXPECT_EQ(program_.session().modelled_time()->gpu_busy_us, 3);
  EXPECT_EQ(program_.session().turn().allocated_bytes(), 100u);
  program_.session().synchronize();
}

TEST_F(SessionObserverTest, WhatItRefusesDoesNotHappen) {
  const TensorId x = program_->make(pattern(600));
  EXPECT_THROW(program_->copy(x, 600), std::runtime_error);
  EXPECT_THROW(program_.session().turn().allocate(500), std::runtime_error);
  const SessionStatistics statistics = program_.session().statistics();
  EXPECT_EQ(statistics.storages, 1u);
  EXPECT_EQ(statistics.refused_storages, 2u);
  EXPECT_EQ(statistics.operations, 0u);
  Bytes bytes(600);
  EXPECT_THROW(program_.session().read(x, 0, bytes, 0, Log::kForbidden), std::runtime_error);
  EXPECT_EQ(program_->read(x, 600), pattern(600));
  EXPECT_EQ(program_->read(program_->copy(x, 300), 300), pattern(300));
}

TEST_F(SessionObserverTest, AnswersInTheExecutorsPlace) {
  {
    auto turn = program_.session().turn(3);
    turn.record_event(1, true);
    turn.record_event(5, true);
    turn.wait_event(1);
  }
  EXPECT_THAT(log_->take(), ElementsAre("record 1 3", "record 5 3", "wait 1 3"));
  const std::uint64_t round_trips = program_.session().statistics().round_trips;
  EXPECT_FALSE(program_.session().query_event(1));
  EXPECT_EQ(program_.session().elapsed_time_ms(1, 5), 4);
  EXPECT_EQ(program_.session().statistics().round_trips, round_trips);
  EXPECT_TRUE(program_.session().query_event(5));
  EXPECT_EQ(program_.session().statistics().round_trips, round_trips + 1)
      << "the executor has to have passed it as well";
  std::vector<double> times_ms;
  const std::vector<EventId> events = {1, 5, 6};
  program_.session().turn().measure(
      events, {}, [&](std::size_t, double time_ms) { times_ms.push_back(time_ms); });
  EXPECT_THAT(times_ms, ElementsAre(4, 1));
}

}  // namespace
}  // namespace torch_remote::session
