// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Sequences, acknowledgements and replay: the two halves of exactly once, in order.
#include "core/transport/replay_window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/protocol/bytes.h"

namespace torch_remote::transport {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;
using Verdict = SequenceGate::Verdict;

Message message_of(std::size_t size_bytes) {
  return make_message({}, std::vector<std::byte>(size_bytes));
}

std::vector<std::uint64_t> replayed(ReplayWindow& window, std::uint64_t sequence) {
  std::vector<std::uint64_t> sequences;
  window.replay(sequence, [&](Message& kept) { sequences.push_back(kept.envelope.sequence); });
  return sequences;
}

TEST(ReplayWindowTest, CountsWhatIsInFlight) {
  ReplayWindow window;
  EXPECT_TRUE(window.empty());
  EXPECT_EQ(window.push(message_of(100), 3).envelope.sequence, 1u);
  EXPECT_EQ(window.push(message_of(0), 0).envelope.sequence, 2u);
  EXPECT_EQ(window.push(message_of(10), 4).envelope.sequence, 3u);
  EXPECT_EQ(window.size_bytes(), 110u + 3 * 40u);
  EXPECT_EQ(window.operations(), 7u);
  window.acknowledge(1);
  EXPECT_EQ(window.message_count(), 2u);
  EXPECT_EQ(window.size_bytes(), 10u + 2 * 40u);
  EXPECT_EQ(window.operations(), 4u);
  window.acknowledge(1);
  window.acknowledge(0);
  EXPECT_EQ(window.message_count(), 2u);
  window.acknowledge(3);
  EXPECT_TRUE(window.empty());
  EXPECT_EQ(window.size_bytes(), 0u);
  EXPECT_EQ(window.operations(), 0u);
  EXPECT_EQ(window.last_sequence(), 3u);
}

TEST(ReplayWindowTest, ReplaysFromWhereTheOtherSideIs) {
  ReplayWindow window;
  EXPECT_THAT(replayed(window, 1), IsEmpty());
  for (int i = 0; i < 5; ++i) window.push(message_of(1), 1);
  window.acknowledge(2);
  EXPECT_THAT(replayed(window, 3), ElementsAre(3, 4, 5));
  EXPECT_THAT(replayed(window, 5), ElementsAre(5));
  EXPECT_THAT(replayed(window, 6), IsEmpty());
  EXPECT_THAT(replayed(window, 3), ElementsAre(3, 4, 5)) << "a replay keeps the messages";
}

TEST(ReplayWindowTest, RefusesWhatCanNotBe) {
  ReplayWindow window;
  for (int i = 0; i < 5; ++i) window.push(message_of(1), 1);
  window.acknowledge(2);
  const auto expect_error = [](auto action, const char* reason) {
    EXPECT_THAT(action, ThrowsMessage<protocol::ProtocolError>(HasSubstr(reason)));
  };
  expect_error([&] { window.acknowledge(6); }, "never sent");
  expect_error([&] { replayed(window, 2); }, "3 to 5 are kept");
  expect_error([&] { replayed(window, 0); }, "can't be replayed");
  expect_error([&] { replayed(window, 7); }, "can't be replayed");
}

TEST(SequenceGateTest, DeliversEachOnceInOrder) {
  SequenceGate gate;
  EXPECT_EQ(gate.accepted(), 0u);
  EXPECT_EQ(gate.accept(2), Verdict::kGap);
  EXPECT_EQ(gate.accept(0), Verdict::kDuplicate);
  EXPECT_EQ(gate.accept(1), Verdict::kDeliver);
  EXPECT_EQ(gate.accept(1), Verdict::kDuplicate);
  EXPECT_EQ(gate.accept(3), Verdict::kGap);
  EXPECT_EQ(gate.accept(2), Verdict::kDeliver);
  EXPECT_EQ(gate.expected(), 3u);
  EXPECT_EQ(gate.accept(~std::uint64_t{0}), Verdict::kGap);
}

}  // namespace
}  // namespace torch_remote::transport
