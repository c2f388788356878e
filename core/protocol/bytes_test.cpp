// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Byte order on the wire, and that nothing is read past the end.
#include "core/protocol/bytes.h"

#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>

namespace torch_remote::protocol {
namespace {

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(ByteWriterTest, NumbersAreLittleEndianAndPacked) {
  ByteWriter writer;
  writer.put(std::uint8_t{0x01});
  writer.put(std::uint16_t{0x0302});
  writer.put(std::uint32_t{0x07060504});
  writer.put(std::uint64_t{0x0F0E0D0C0B0A0908});
  EXPECT_EQ(text_of(writer.bytes()),
            std::string("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E\x0F"));
}

TEST(ByteWriterTest, StringsHaveALengthAndPaddingIsZero) {
  ByteWriter writer;
  writer.put_string("abcde");
  writer.pad_to_word();
  EXPECT_EQ(text_of(writer.bytes()), std::string("\5\0\0\0abcde\0\0\0", 12));
  writer.pad_to_word();
  EXPECT_EQ(writer.size(), 12u);
}

TEST(ByteWriterTest, OverwriteTruncateClearAndExtend) {
  ByteWriter writer;
  writer.put(std::uint32_t{1});
  writer.put(std::uint32_t{2});
  writer.overwrite(0, std::uint32_t{9});
  writer.truncate(4);
  std::memset(writer.extend(2), 'x', 2);
  EXPECT_EQ(text_of(writer.bytes()), std::string("\x09\0\0\0xx", 6));
  writer.clear();
  EXPECT_TRUE(writer.empty());
  writer.put_bytes({});
  writer.put_string("");
  EXPECT_EQ(writer.size(), 4u);
}

TEST(ByteReaderTest, ReadsWhatWasWritten) {
  ByteWriter writer;
  writer.put(std::int64_t{-5});
  writer.put(-0.0);
  writer.put_string("name");
  ByteReader reader(writer.bytes());
  EXPECT_EQ(reader.get<std::int64_t>(), -5);
  EXPECT_TRUE(std::signbit(reader.get<double>()));
  EXPECT_EQ(reader.get_string(4), "name");
  EXPECT_TRUE(reader.empty());
}

TEST(ByteReaderTest, PastTheEndThrowsAndTakesNothing) {
  const std::byte bytes[3]{};
  ByteReader reader(bytes);
  EXPECT_THROW(reader.get<std::uint32_t>(), ProtocolError);
  EXPECT_THROW(reader.take(std::numeric_limits<std::size_t>::max()), ProtocolError);
  EXPECT_EQ(reader.take(3).size(), 3u);
  EXPECT_THROW(reader.get<std::uint8_t>(), ProtocolError);
}

TEST(ByteReaderTest, AStringIsCheckedAgainstItsLimitAndTheEnd) {
  ByteWriter writer;
  writer.put_string("12345");
  EXPECT_THROW(ByteReader(writer.bytes()).get_string(4), ProtocolError);
  EXPECT_THROW(ByteReader(writer.bytes().first(8)).get_string(5), ProtocolError);
}

TEST(ByteReaderTest, ACountIsCheckedBeforeAnybodyReserves) {
  struct Case {
    std::uint32_t count;
    std::size_t element_size_bytes;
    std::size_t count_max;
    bool allowed;
  };
  const Case cases[] = {{2, 4, 2, true},
                        {3, 4, 9, false},
                        {2, 4, 1, false},
                        {8, 1, 8, true},
                        {0xFFFFFFFF, 8, std::numeric_limits<std::size_t>::max(), false}};
  for (const Case& test : cases) {
    ByteWriter writer;
    writer.put(test.count);
    writer.put(std::uint64_t{0});
    ByteReader reader(writer.bytes());
    const auto count = [&] {
      return reader.get_count<std::uint32_t>(test.element_size_bytes, test.count_max, "things");
    };
    if (test.allowed) {
      EXPECT_EQ(count(), test.count);
    } else {
      EXPECT_THAT([&] { count(); },
                  testing::ThrowsMessage<ProtocolError>(testing::HasSubstr("things")));
    }
  }
}

}  // namespace
}  // namespace torch_remote::protocol
