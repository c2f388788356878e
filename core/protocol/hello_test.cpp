// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The opening of a session: what survives other versions, unknown keys and hostile limits.
#include "core/protocol/hello.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/protocol/bytes.h"
#include "core/protocol/golden_for_test.h"

namespace torch_remote::protocol {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

const Hello kHello{.client_version = "0.1.0", .torch_version = "2.13.0", .thread_count = 4};

Welcome sample_welcome() {
  return {.epoch = 0x0102030405060708,
          .limits = {.plan_count_max = 100,
                     .operator_count_max = 50,
                     .storage_size_bytes_max = 1 << 30,
                     .bytes_in_flight_max = 1 << 20,
                     .operations_in_flight_max = 1000},
          .description = {{"executor", "libtorch"}, {"device", "cpu"}, {"emulates", ""}}};
}

void append_field(std::vector<std::byte>& bytes, std::uint16_t key, std::string_view value) {
  ByteWriter writer;
  writer.put(key);
  writer.put_string(value);
  bytes.insert(bytes.end(), writer.bytes().begin(), writer.bytes().end());
}

TEST(HelloTest, GoldenBytes) {
  const Hello hello = decode_hello(expect_golden("hello", encode(kHello)));
  EXPECT_EQ(hello.version_major, 1);
  EXPECT_EQ(hello.version_minor, 0);
  EXPECT_EQ(hello.client_version, "0.1.0");
  EXPECT_EQ(hello.torch_version, "2.13.0");
  EXPECT_EQ(hello.thread_count, 4u);

  const Welcome welcome = decode_welcome(expect_golden("welcome", encode(sample_welcome())));
  EXPECT_EQ(welcome.epoch, sample_welcome().epoch);
  EXPECT_EQ(welcome.limits, sample_welcome().limits);
  EXPECT_EQ(welcome.description, sample_welcome().description);

  const Refusal refusal = decode_refusal(expect_golden(
      "refused", encode(Refusal{.code = RefusalCode::kTooManySessions, .reason = "full"})));
  EXPECT_EQ(refusal.code, RefusalCode::kTooManySessions);
  EXPECT_EQ(refusal.reason, "full");
}

TEST(HelloTest, DevicesOfAMachineOfSeveral) {
  Hello hello = kHello;
  hello.device_index = 3;
  EXPECT_EQ(decode_hello(expect_golden("hello_device", encode(hello))).device_index, 3u);
  EXPECT_EQ(decode_hello(encode(kHello)).device_index, 0u);
  Welcome welcome = sample_welcome();
  welcome.device_index = 3;
  welcome.device_count = 4;
  const Welcome decoded = decode_welcome(expect_golden("welcome_device", encode(welcome)));
  EXPECT_EQ(decoded.device_index, 3u);
  EXPECT_EQ(decoded.device_count, 4u);
  EXPECT_EQ(decode_welcome(encode(sample_welcome())).device_count, 1u);
}

TEST(HelloTest, UnknownKeysAreSkipped) {
  auto hello = encode(kHello);
  append_field(hello, 999, "from a later version");
  append_field(hello, 3, std::string("\x07\0\0\0", 4));
  EXPECT_EQ(decode_hello(hello).thread_count, 7u);
  EXPECT_EQ(decode_hello(hello).torch_version, "2.13.0");
  auto welcome = encode(sample_welcome());
  append_field(welcome, 1000, "");
  EXPECT_EQ(decode_welcome(welcome).limits, sample_welcome().limits);
}

TEST(HelloTest, MissingKeysLeaveTheDefaults) {
  const auto bytes = encode(sample_welcome());
  const Welcome welcome = decode_welcome(std::span(bytes).first(8));
  EXPECT_EQ(welcome.limits, Limits{});
  EXPECT_EQ(welcome.epoch, 0u);
}

TEST(HelloTest, NothingButTheVersionIsReadOfAnotherMajor) {
  for (const bool is_welcome : {false, true}) {
    auto bytes = is_welcome ? encode(sample_welcome()) : encode(kHello);
    bytes[4] = std::byte{2};
    bytes.resize(11);  // its fields may look like anything
    EXPECT_EQ(is_welcome ? decode_welcome(bytes).version_major : decode_hello(bytes).version_major,
              2);
  }
}

TEST(HelloTest, HostileLimitsDontSizeTheClientsTables) {
  Welcome welcome = sample_welcome();
  welcome.limits.operations_in_flight_max = 0xFFFFFFFF;
  welcome.limits.plan_count_max = 0xFFFFFFFF;
  const Limits limits = decode_welcome(encode(welcome)).limits;
  EXPECT_EQ(limits.operations_in_flight_max, kAnnouncedCountMax);
  EXPECT_EQ(limits.plan_count_max, kAnnouncedCountMax);

  std::uint32_t Limits::* const counts[] = {&Limits::plan_count_max, &Limits::operator_count_max,
                                            &Limits::operations_in_flight_max};
  for (const auto count : counts) {
    welcome = sample_welcome();
    welcome.limits.*count = 0;
    EXPECT_THAT([&] { decode_welcome(encode(welcome)); },
                ThrowsMessage<ProtocolError>(HasSubstr("limit of zero")));
  }
}

TEST(HelloTest, MalformedBytesHaveAReason) {
  const auto expect_error = [](auto decode, std::vector<std::byte> bytes, const char* reason) {
    EXPECT_THAT([&] { decode(bytes); }, ThrowsMessage<ProtocolError>(HasSubstr(reason)));
  };
  auto bytes = encode(kHello);
  bytes[0] = std::byte{0};
  expect_error(decode_hello, bytes, "does not begin with TRMT");
  bytes = encode(kHello);
  append_field(bytes, 3, "eight by");
  expect_error(decode_hello, bytes, "wrong size");
  bytes = encode(kHello);
  bytes.resize(kHelloSizeBytesMax + 1);
  expect_error(decode_hello, bytes, "too long");
  bytes = encode(sample_welcome());
  append_field(bytes, 22, "no zero byte");
  expect_error(decode_welcome, bytes, "no key");
  expect_error(decode_refusal, {}, "truncated");
}

TEST(HelloTest, ATruncatedMessageThrowsOrIsAPrefix) {
  const auto bytes = encode(kHello);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    try {
      decode_hello(std::span(bytes).first(size));
    } catch (const ProtocolError&) {
    }
  }
}

}  // namespace
}  // namespace torch_remote::protocol
