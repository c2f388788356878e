// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Replies: each comes back as it was written, and no cut or changed byte gets further than a
// reason.
#include "core/protocol/replies.h"

#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/protocol/golden_for_test.h"
#include "core/protocol/samples_for_test.h"

namespace torch_remote::protocol {
namespace {

using testing::ElementsAre;

const std::span<const std::byte> kPayload(kSampleValues, 5);

struct Sample {
  const char* name;
  std::function<void(ReplyWriter&)> append;
  std::string line;
};

std::vector<Sample> samples() {
  return {
      {"failure", [](ReplyWriter& to) { to.failure(sample_failure()); }, "failure"},
      {"bytes", [](ReplyWriter& to) { to.bytes(1, kPayload); }, "bytes 1 5"},
      {"byte_frames", [](ReplyWriter& to) { to.byte_frames(2, 3 << 20, 3); },
       "byte_frames 2 3145728 3"},
      {"outputs", [](ReplyWriter& to) { to.outputs(3, sample_outputs()); }, "outputs 3"},
      {"sparse_outputs", [](ReplyWriter& to) { to.outputs(3, sample_sparse_outputs()); },
       "outputs 3"},
      {"generator_state", [](ReplyWriter& to) { to.generator_state(4, kPayload); },
       "generator_state 4 5"},
      {"synchronized", [](ReplyWriter& to) { to.synchronized(5); }, "synchronized 5"},
      {"failed", [](ReplyWriter& to) { to.failed(6, sample_failure()); }, "failed 6"},
      {"numbers", [](ReplyWriter& to) { to.numbers(7, {{"reserved_bytes", 512}, {"a", -1}}); },
       "numbers 7 a -1 reserved_bytes 512"},
  };
}

ReplyWriter batch_of_all() {
  ReplyWriter writer;
  for (const Sample& sample : samples()) sample.append(writer);
  return writer;
}

TEST(RepliesTest, GoldenBytesOfEveryReply) {
  for (const Sample& sample : samples()) {
    ReplyWriter writer;
    sample.append(writer);
    ReplyRecorder recorder;
    for_each_reply(expect_golden(std::string("reply_") + sample.name, writer.bytes()), recorder);
    EXPECT_THAT(recorder.lines, ElementsAre(sample.line));
    for (const Failure& failure : recorder.failures) EXPECT_EQ(failure, sample_failure());
    for (const auto& outputs : recorder.described) {
      EXPECT_EQ(outputs,
                std::string(sample.name) == "outputs" ? sample_outputs() : sample_sparse_outputs());
    }
  }
}

TEST(RepliesTest, EveryTruncationIsAPrefixOrThrows) {
  const ReplyWriter writer = batch_of_all();
  ReplyRecorder all;
  for_each_reply(writer.bytes(), all);
  EXPECT_EQ(all.lines.size(), samples().size());
  for (std::size_t size = 0; size < writer.size_bytes(); ++size) {
    const std::vector<std::byte> cut(writer.bytes().begin(),
                                     writer.bytes().begin() + static_cast<std::ptrdiff_t>(size));
    ReplyRecorder recorder;
    try {
      for_each_reply(cut, recorder);
    } catch (const ProtocolError&) {
    }
    ASSERT_LE(recorder.lines.size(), all.lines.size());
    EXPECT_TRUE(std::equal(recorder.lines.begin(), recorder.lines.end(), all.lines.begin()));
  }
}

TEST(RepliesTest, LongTextsAreCutRatherThanRefused) {
  Failure failure = sample_failure();
  failure.operator_name.assign(5000, 'n');
  failure.message.assign(100'000, 'm');
  ReplyWriter writer;
  writer.failure(failure);
  ReplyRecorder recorder;
  for_each_reply(writer.bytes(), recorder);
  EXPECT_EQ(recorder.failures.front().operator_name.size(), kNameSizeBytesMax);
  EXPECT_EQ(recorder.failures.front().message.size(), 64u * 1024);
}

TEST(RepliesTest, MalformedRepliesHaveAReason) {
  ReplyWriter writer;
  const auto expect_error = [](std::span<const std::byte> batch, const char* reason) {
    ReplyRecorder recorder;
    EXPECT_THAT([&] { for_each_reply(batch, recorder); },
                testing::ThrowsMessage<ProtocolError>(testing::HasSubstr(reason)));
  };
  ByteWriter raw;
  raw.put(std::uint8_t{8});
  raw.put(std::uint32_t{0});
  expect_error(raw.bytes(), "unknown reply kind 8");

  using Kind = DescribedOutput::Kind;
  const auto described = [&](DescribedOutput output) { writer.outputs(1, std::span(&output, 1)); };
  Failure of_unknown_kind = sample_failure();
  of_unknown_kind.kind = static_cast<ErrorKind>(10);
  const std::pair<std::function<void()>, const char*> cases[] = {
      {[&] { writer.byte_frames(1, 8, 65); }, "too many payload frames"},
      {[&] { writer.byte_frames(1, ~std::uint64_t{0}, 0); }, "truncated"},
      {[&] { writer.failure(of_unknown_kind); }, "unknown error kind"},
      {[&] { described({.kind = static_cast<Kind>(9)}); }, "unknown described output"},
      {[&] { described({.kind = Kind::kKeptComponent}); }, "belongs to no sparse tensor"},
      {[&] { described({.kind = Kind::kSparseTensor}); }, "lacks a component"},
      {[&] {
         const DescribedOutput outputs[] = {{.kind = Kind::kSparseTensor, .sparse = sample_bsr()},
                                            {.kind = Kind::kKeptComponent},
                                            {.kind = Kind::kUndefined}};
         writer.outputs(1, outputs);
       },
       "lacks a component"},
      {[&] {
         described({.kind = Kind::kTensor, .layout = sample_layout(), .storage_size_bytes = 23});
       },
       "does not fit its storage"},
      {[&] {
         described({.kind = Kind::kTensor,
                    .layout = sample_layout(),
                    .storage_size_bytes = kStorageSizeBytesMax + 1});
       },
       "does not fit its storage"},
  };
  for (const auto& [append, reason] : cases) {
    writer.clear();
    append();
    expect_error(writer.bytes(), reason);
  }
}

}  // namespace
}  // namespace torch_remote::protocol
