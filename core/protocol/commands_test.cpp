// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Commands: each comes back as it was written, and no cut or changed byte gets further than a
// reason.
#include "core/protocol/commands.h"

#include <cstring>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/protocol/golden_for_test.h"
#include "core/protocol/samples_for_test.h"

namespace torch_remote::protocol {
namespace {

using testing::ElementsAre;

const std::span<const std::byte> kPayload(kSampleValues, 5);
const std::string kPayloadText("\x11\x22\x33\0\0", 5);

struct Sample {
  const char* name;
  std::function<void(CommandWriter&)> append;
  std::string line;
};

std::string words(std::initializer_list<std::uint64_t> numbers) {
  std::string text;
  for (const auto number : numbers) text += " " + std::to_string(number);
  return text;
}

std::vector<Sample> samples() {
  constexpr TensorId kId = kSampleId;
  const std::string values(reinterpret_cast<const char*>(kSampleValues), sizeof(kSampleValues));
  return {
      {"define_operator",
       [](CommandWriter& to) { to.define_operator(2, 0xABCDEF, "aten::add", "Tensor"); },
       "define_operator 2 11259375 aten::add Tensor"},
      {"define_plan",
       [](CommandWriter& to) {
         ByteWriter plan;
         put_plan(plan, sample_plan());
         to.define_plan(plan.bytes());
       },
       "define_plan 5"},
      {"call", [](CommandWriter& to) { std::memcpy(to.call(5, 24), kSampleValues, 24); },
       "call 5 " + values},
      {"call_and_describe",
       [](CommandWriter& to) {
         std::memcpy(to.call_and_describe(6, 9, kId, 24), kSampleValues, 24);
       },
       "call_and_describe" + words({6, 9, kId}) + " " + values},
      {"allocate", [](CommandWriter& to) { to.allocate(kId, 1000); },
       "allocate" + words({kId, 1000})},
      {"free", [](CommandWriter& to) { to.free(kId); }, "free" + words({kId})},
      {"write", [](CommandWriter& to) { to.write(kId, 16, kPayload); },
       "write" + words({kId, 16}) + " " + kPayloadText},
      {"write_frames", [](CommandWriter& to) { to.write_frames(kId, 16, 3 << 20, 3); },
       "write_frames" + words({kId, 16, 3 << 20, 3})},
      {"read", [](CommandWriter& to) { to.read(10, kId, 8, 24); },
       "read" + words({10, kId, 8, 24})},
      {"resize", [](CommandWriter& to) { to.resize(kId, kId + 512, 2000); },
       "resize" + words({kId, kId + 512, 2000})},
      {"rename", [](CommandWriter& to) { to.rename(kId, kId + 512); },
       "rename" + words({kId, kId + 512})},
      {"seed", [](CommandWriter& to) { to.seed(0, 1234); }, "seed 0 1234"},
      {"get_generator_state", [](CommandWriter& to) { to.get_generator_state(11, 1); },
       "get_generator_state 11 1"},
      {"set_generator_state", [](CommandWriter& to) { to.set_generator_state(1, kPayload); },
       "set_generator_state 1 " + kPayloadText},
      {"synchronize", [](CommandWriter& to) { to.synchronize(12); }, "synchronize 12"},
      {"use_stream", [](CommandWriter& to) { to.use_stream(33); }, "use_stream 33"},
      {"record_event", [](CommandWriter& to) { to.record_event(7, true); }, "record_event 7 1"},
      {"wait_event", [](CommandWriter& to) { to.wait_event(7); }, "wait_event 7"},
      {"free_event", [](CommandWriter& to) { to.free_event(7); }, "free_event 7"},
      {"query_event", [](CommandWriter& to) { to.query_event(13, 7); }, "query_event 13 7"},
      {"synchronize_event", [](CommandWriter& to) { to.synchronize_event(14, 7); },
       "synchronize_event 14 7"},
      {"elapsed_time", [](CommandWriter& to) { to.elapsed_time(15, 7, 8); }, "elapsed_time 15 7 8"},
      {"record_stream", [](CommandWriter& to) { to.record_stream(kId, 2); },
       "record_stream" + words({kId, 2})},
      {"get_memory_statistics", [](CommandWriter& to) { to.get_memory_statistics(16); },
       "get_memory_statistics 16"},
      {"reset_peak_memory", [](CommandWriter& to) { to.reset_peak_memory(); }, "reset_peak_memory"},
      {"empty_cache", [](CommandWriter& to) { to.empty_cache(); }, "empty_cache"},
  };
}

CommandWriter batch_of_all() {
  CommandWriter writer;
  for (const Sample& sample : samples()) sample.append(writer);
  return writer;
}

TEST(CommandsTest, GoldenBytesOfEveryCommand) {
  for (const Sample& sample : samples()) {
    CommandWriter writer;
    sample.append(writer);
    EXPECT_EQ(writer.size_bytes() % 4, 0u);
    CommandRecorder recorder;
    for_each_command(expect_golden(std::string("command_") + sample.name, writer.bytes()),
                     recorder);
    EXPECT_THAT(recorder.lines, ElementsAre(sample.line));
    for (const PlanDefinition& plan : recorder.plans) EXPECT_EQ(plan, sample_plan());
  }
}

TEST(CommandsTest, ABatchKeepsTheOrder) {
  CommandRecorder recorder;
  for_each_command(batch_of_all().bytes(), recorder);
  std::vector<std::string> expected;
  for (const Sample& sample : samples()) expected.push_back(sample.line);
  EXPECT_EQ(recorder.lines, expected);
}

TEST(CommandsTest, EveryTruncationIsAPrefixOrThrows) {
  const CommandWriter writer = batch_of_all();
  CommandRecorder all;
  for_each_command(writer.bytes(), all);
  std::size_t whole_commands_only = 0;
  for (std::size_t size = 0; size < writer.size_bytes(); ++size) {
    // A copy of its own size, so that a sanitizer sees every read past the end.
    const std::vector<std::byte> cut(writer.bytes().begin(),
                                     writer.bytes().begin() + static_cast<std::ptrdiff_t>(size));
    CommandRecorder recorder;
    try {
      for_each_command(cut, recorder);
      ++whole_commands_only;
    } catch (const ProtocolError&) {
    }
    ASSERT_LE(recorder.lines.size(), all.lines.size());
    EXPECT_TRUE(std::equal(recorder.lines.begin(), recorder.lines.end(), all.lines.begin()));
  }
  EXPECT_EQ(whole_commands_only, samples().size());
}

TEST(CommandsTest, FreesThatFollowEachOtherShareACommand) {
  CommandWriter writer;
  writer.free(512);
  writer.free(1024);
  EXPECT_EQ(writer.size_bytes(), 8u + 2 * 8u);
  writer.synchronize(1);
  writer.free(1536);
  EXPECT_EQ(writer.size_bytes(), 24u + 8u + 16u);
  writer.clear();
  for (TensorId i = 0; i < 2000; ++i) writer.free(i);
  CommandRecorder recorder;
  for_each_command(writer.bytes(), recorder);
  ASSERT_EQ(recorder.lines.size(), 2000u);
  EXPECT_EQ(recorder.lines.back(), "free 1999");
}

TEST(CommandsTest, MalformedCommandsHaveAReason) {
  const auto expect_error = [](std::span<const std::byte> batch, const char* reason) {
    CommandRecorder recorder;
    EXPECT_THAT([&] { for_each_command(batch, recorder); },
                testing::ThrowsMessage<ProtocolError>(testing::HasSubstr(reason)));
  };
  const auto raw = [&](std::uint32_t head, const char* reason) {
    ByteWriter writer;
    writer.put(head);
    expect_error(writer.bytes(), reason);
  };
  raw(0, "at least its head");
  raw(0x100, "unknown command kind 0");
  raw(0x1FF, "unknown command kind 255");
  raw(0x11B, "unknown command kind 27");
  raw(0xFFFFFF03, "truncated");

  CommandWriter writer;
  constexpr std::uint64_t kTooMuch = kStorageSizeBytesMax + 1;
  const std::pair<std::function<void()>, const char*> cases[] = {
      {[&] { writer.allocate(1, kTooMuch); }, "size beyond the largest storage"},
      {[&] { writer.resize(1, 2, kTooMuch); }, "size beyond the largest storage"},
      {[&] { writer.read(1, 1, kTooMuch, 0); }, "range beyond the largest storage"},
      {[&] { writer.read(1, 1, 0, kTooMuch); }, "range beyond the largest storage"},
      {[&] { writer.write_frames(1, 0, ~std::uint64_t{0}, 1); }, "range beyond"},
      {[&] { writer.write_frames(1, 0, 8, 65); }, "too many payload frames"},
      {[&] { writer.use_stream(kStreamMax + 1); }, "stream number beyond the limit"},
      {[&] { writer.record_stream(1, kStreamMax + 1); }, "stream number beyond the limit"},
      {[&] { writer.define_operator(1, 1, std::string(1025, 'x'), ""); }, "string of 1025 bytes"},
  };
  for (const auto& [append, reason] : cases) {
    writer.clear();
    append();
    expect_error(writer.bytes(), reason);
  }
}

}  // namespace
}  // namespace torch_remote::protocol
