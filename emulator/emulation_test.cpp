// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// One program in front of the models of several GPUs.
#include "emulator/emulation.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/session/byte_program_for_test.h"
#include "core/session/session.h"
#include "emulator/dry_channel.h"

namespace torch_remote::emulator {
namespace {

using session::ByteProgram;
using session::TensorId;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr std::uint64_t kGib = std::uint64_t{1} << 30;

class EmulationTest : public testing::Test {
 protected:
  void emulate(const std::vector<std::string>& types, EmulationOptions options = {}) {
    std::vector<GpuModel> gpus;
    for (const std::string& type : types) gpus.push_back(gpu_model(type));
    emulation_ = std::make_shared<Emulation>(std::move(gpus), std::move(options));
    program_ = std::make_unique<ByteProgram>(make_dry_channel({}), "this process",
                                             session::next_session_id());
    program_->session().set_observer(emulation_);
    // Operators were defined before there was an observer.
    for (std::uint32_t i = 0; i < 4; ++i) emulation_->define_operator(i, "test::bytes", "");
  }

  std::shared_ptr<Emulation> emulation_;
  std::unique_ptr<ByteProgram> program_;
};

TEST_F(EmulationTest, TheFirstGpuRefusesAndTheOthersRecord) {
  emulate({"A100-40GB", "T4", "H200"});
  const TensorId x = program_->copy(1, 20 * kGib, 7);
  EXPECT_THROW(program_->copy(1, 20 * kGib, 8), session::OutOfMemory);
  program_->session().free(x, 20 * kGib);
  program_->copy(1, 20 * kGib, 9);
  const auto outcomes = emulation_->outcomes();
  ASSERT_THAT(outcomes, SizeIs(3));
  EXPECT_EQ(outcomes[0].shortfall->location, 8u);
  EXPECT_EQ(outcomes[1].shortfall->location, 7u);
  EXPECT_EQ(outcomes[1].shortfall->operation, "test::bytes");
  EXPECT_FALSE(outcomes[2].shortfall);
  for (const GpuOutcome& outcome : outcomes)
    EXPECT_EQ(outcome.allocated_bytes_peak, 20 * kGib) << outcome.type;
}

TEST_F(EmulationTest, OutOfMemoryIsRecordedWhereThatIsWanted) {
  emulate({"T4"}, {.memory = {.out_of_memory = OutOfMemoryPolicy::kRecord}});
  for (int i = 0; i < 4; ++i) program_->copy(1, 10 * kGib, 20 + i);
  const GpuOutcome outcome = emulation_->outcomes().front();
  EXPECT_EQ(outcome.shortfall->location, 21u);
  EXPECT_EQ(outcome.shortfall->number, 1u);
  EXPECT_EQ(outcome.shortfall->report.allocated_bytes, 10 * kGib);
  EXPECT_EQ(outcome.allocated_bytes_peak, 40 * kGib);
}

TEST_F(EmulationTest, ADryRunRefusesReadsAndShapesThatDependOnValues) {
  emulate({"T4"}, {.values = Values::kRaiseAtRead});
  const TensorId x = program_->make(session::Bytes(64));
  try {
    program_->read(x, 64);
    ADD_FAILURE() << "the read was not refused";
  } catch (const session::OperationError& error) {
    EXPECT_THAT(error.what(), HasSubstr("on_read=\"zero\""));
  }
  try {
    program_->describe(x, 10, 5);
    ADD_FAILURE() << "the operator was not refused";
  } catch (const session::OperationError& error) {
    EXPECT_EQ(error.failure().operator_name, "test::bytes");
    EXPECT_EQ(error.location(), 5u);
  }
  EXPECT_EQ(emulation_->operations(), 0u);
}

TEST_F(EmulationTest, ADryRunCanReadZerosAndCountsThem) {
  emulate({"T4"}, {.values = Values::kZerosAtRead});
  const TensorId x = program_->make(session::pattern(64));
  EXPECT_EQ(program_->read(x, 64), session::Bytes(64));
  session::Bytes bytes(8);
  program_->session().read(x, 0, bytes, 0, 31);
  EXPECT_EQ(emulation_->zero_reads().count, 2u);
  EXPECT_THROW(program_->describe(x, 10), session::OperationError);
}

TEST_F(EmulationTest, StepsHaveATimeOnEachGpu) {
  emulate({"H100", "T4"});
  emulation_->mark_step();
  for (int step = 0; step < 3; ++step) {
    for (int i = 0; i < 10; ++i) program_->session().free(program_->copy(1, kGib), kGib);
    emulation_->mark_step();
  }
  EXPECT_THAT(emulation_->steps(), ElementsAre(0, 10, 20, 30));
  for (const GpuOutcome& outcome : emulation_->outcomes()) {
    ASSERT_THAT(outcome.step_ends_us, SizeIs(4));
    EXPECT_EQ(outcome.step_ends_us.back(), std::max(outcome.host_us, outcome.gpu_us));
    for (std::size_t i = 1; i < 4; ++i)
      EXPECT_GT(outcome.step_ends_us[i], outcome.step_ends_us[i - 1]);
  }
  emulation_->clear_steps();
  EXPECT_TRUE(emulation_->steps().empty());
}

TEST_F(EmulationTest, LongRunsAreSampledEvenly) {
  emulate({"T4", "L4"});
  for (int i = 0; i < 5000; ++i) program_->session().free(program_->copy(1, 512), 512);
  const std::vector<std::uint64_t> places = emulation_->time_samples();
  EXPECT_LE(places.size(), 1024u);
  EXPECT_GT(places.size(), 256u);
  for (const GpuOutcome& outcome : emulation_->outcomes()) {
    ASSERT_EQ(outcome.time_samples_us.size(), places.size());
    for (std::size_t i = 1; i < places.size(); ++i) {
      EXPECT_GT(places[i], places[i - 1]);
      EXPECT_GE(outcome.time_samples_us[i], outcome.time_samples_us[i - 1]);
    }
  }
}

TEST_F(EmulationTest, OperatorsKeepTheirCountsWhenPlansAreReplaced) {
  emulate({"T4"});
  for (const std::uint64_t size : {100, 200}) program_->copy(1, size);
  const OperatorUse before = emulation_->outcomes().front().operators.front();
  protocol::PlanDefinition other;  // the number of the first plan
  other.operator_number = 1;
  emulation_->define_plan(other);
  const OperatorUse after = emulation_->outcomes().front().operators.front();
  EXPECT_EQ(before.calls, 2u);
  EXPECT_EQ(after.calls, 2u);
  EXPECT_EQ(after.gpu_us, before.gpu_us);
}

// Of float8 matrices that only GPUs from compute capability 8.9 on multiply.
class RefusalTest : public EmulationTest {
 protected:
  void define() {
    const protocol::Argument operand{
        .kind = protocol::ArgumentKind::kTensor,
        .layout = {.dtype = kFloat8E4m3fn, .sizes = {16, 16}, .strides = {1, 16}}};
    protocol::PlanDefinition definition;
    definition.plan = 50;
    definition.operator_number = 90;
    definition.arguments = {operand, operand};
    definition.arguments.front().layout.strides = {16, 1};
    emulation_->define_operator(90, "aten::_scaled_mm", "");
    emulation_->define_plan(definition);
  }
  void call(std::uint32_t location) {
    emulation_->call({.plan = 50, .location = location, .values = {}});
  }

  static constexpr protocol::DataType kFloat8E4m3fn = 24;
};

TEST_F(RefusalTest, WhatTheFirstGpuRefusesIsAnErrorAndChangesNothing) {
  emulate({"T4", "H100", "A100"});
  define();
  for (const std::uint32_t location : {7u, 8u}) {
    try {
      call(location);
      ADD_FAILURE() << "the call was not refused";
    } catch (const session::OperationError& error) {
      EXPECT_EQ(error.failure().operator_name, "aten::_scaled_mm");
      EXPECT_THAT(error.what(), HasSubstr("compute capability >= 9.0 or 8.9"));
      EXPECT_EQ(error.location(), location);
    }
  }
  EXPECT_EQ(emulation_->operations(), 0u);
  const std::vector<GpuOutcome> outcomes = emulation_->outcomes();
  EXPECT_FALSE(outcomes[0].divergence);
  ASSERT_TRUE(outcomes[1].divergence);
  EXPECT_FALSE(outcomes[1].divergence->is_refused);
  EXPECT_EQ(outcomes[1].divergence->location, 7u);  // of the first
  EXPECT_FALSE(outcomes[2].divergence);
}

TEST_F(RefusalTest, WhatAnotherGpuRefusesIsNoted) {
  emulate({"H100", "T4"});
  define();
  call(7);
  EXPECT_EQ(emulation_->operations(), 1u);
  const std::vector<GpuOutcome> outcomes = emulation_->outcomes();
  ASSERT_TRUE(outcomes[1].divergence);
  EXPECT_TRUE(outcomes[1].divergence->is_refused);
  EXPECT_EQ(outcomes[1].divergence->operation, "aten::_scaled_mm");
  EXPECT_THAT(outcomes[1].divergence->message, HasSubstr("compute capability >= 9.0 or 8.9"));
}

TEST_F(EmulationTest, SettingsAreThoseOfTheCall) {
  ProgramSettings settings;
  emulate({"H100"}, {.settings = [&settings] { return settings; }});
  const protocol::Argument operand{
      .kind = protocol::ArgumentKind::kTensor,
      .layout = {.dtype = 6, .sizes = {4096, 4096}, .strides = {4096, 1}}};
  protocol::PlanDefinition definition;
  definition.plan = 50;
  definition.operator_number = 90;
  definition.arguments = {operand, operand};
  definition.outputs.push_back({.kind = protocol::OutputKind::kFresh, .layout = operand.layout});
  emulation_->define_operator(90, "aten::mm", "");
  emulation_->define_plan(definition);
  const auto called_us = [this](std::uint32_t id) {
    const double before = emulation_->outcomes().front().gpu_busy_us;
    const session::NewStorage output{.id = id, .size_bytes = 4096 * 4096 * 4};
    emulation_->call({.plan = 50, .values = {}, .outputs = std::span(&output, 1)});
    emulation_->free(id, output.size_bytes);
    return emulation_->outcomes().front().gpu_busy_us - before;
  };
  const double exact_us = called_us(100);
  settings.precision.allow_tf32_in_products = true;
  const double rounded_us = called_us(101);
  settings.precision.allow_tf32_in_products = false;
  EXPECT_GT(exact_us, 3 * rounded_us);
  EXPECT_NEAR(called_us(102), exact_us, 1e-6);
  const OperatorUse use = emulation_->outcomes().front().operators.front();
  EXPECT_EQ(use.calls, 3u);
  EXPECT_NEAR(use.gpu_us, 2 * exact_us + rounded_us, 1e-6);
}

}  // namespace
}  // namespace torch_remote::emulator
