// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Frame 0 of every message: its layout, and what is no envelope.
#include "core/protocol/envelope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/protocol/bytes.h"
#include "core/protocol/golden_for_test.h"

namespace torch_remote::protocol {
namespace {

const Envelope kSample{.kind = MessageKind::kCommands,
                       .session = 0x1122334455667788,
                       .sequence = 3,
                       .acknowledged = 2};

TEST(EnvelopeTest, GoldenBytes) {
  EXPECT_EQ(decode_envelope(expect_golden("envelope", encode(kSample))), kSample);
}

TEST(EnvelopeTest, EveryKindComesBack) {
  for (std::uint8_t kind = 1; kind <= static_cast<std::uint8_t>(MessageKind::kKeepAlive); ++kind) {
    Envelope envelope = kSample;
    envelope.kind = static_cast<MessageKind>(kind);
    EXPECT_EQ(decode_envelope(encode(envelope)), envelope);
  }
}

TEST(EnvelopeTest, ReservedBytesAreIgnored) {
  EnvelopeBytes bytes = encode(kSample);
  for (const std::size_t position : {5, 6, 7, 32, 39}) bytes.at(position) = std::byte{0xFF};
  EXPECT_EQ(decode_envelope(bytes), kSample);
}

TEST(EnvelopeTest, OtherBytesAreNoEnvelope) {
  const EnvelopeBytes bytes = encode(kSample);
  const auto expect_error = [](std::span<const std::byte> wrong, const char* reason) {
    EXPECT_THAT([&] { decode_envelope(wrong); },
                testing::ThrowsMessage<ProtocolError>(testing::HasSubstr(reason)));
  };
  expect_error({}, "has 0 bytes");
  expect_error(std::span(bytes).first(39), "has 39 bytes");
  std::vector<std::byte> longer(bytes.begin(), bytes.end());
  longer.push_back({});
  expect_error(longer, "has 41 bytes");
  EnvelopeBytes other = bytes;
  other[0] = std::byte{'X'};
  expect_error(other, "does not begin with TRMT");
  for (const int kind : {0, 11, 255}) {
    other = bytes;
    other[4] = static_cast<std::byte>(kind);
    expect_error(other, "unknown message kind");
  }
}

}  // namespace
}  // namespace torch_remote::protocol
