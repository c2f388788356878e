// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/protocol/hello.h"

#include <algorithm>
#include <string_view>
#include <tuple>
#include <utility>

#include "core/protocol/bytes.h"

namespace torch_remote::protocol {
namespace {

enum class Key : std::uint16_t {
  kClientVersion = 1,
  kTorchVersion = 2,
  kThreadCount = 3,
  kDeviceIndex = 4,
  kEpoch = 16,
  kPlanCountMax = 17,
  kOperatorCountMax = 18,
  kStorageSizeBytesMax = 19,
  kBytesInFlightMax = 20,
  kOperationsInFlightMax = 21,
  kDescription = 22,
  kDeviceCount = 23,
};

void put_text(ByteWriter& writer, Key key, std::string_view text) {
  writer.put(key);
  writer.put_string(text);
}

template <WireNumber T>
void put_number(ByteWriter& writer, Key key, T value) {
  writer.put(key);
  writer.put(static_cast<std::uint32_t>(sizeof(T)));
  writer.put(value);
}

void put_version(ByteWriter& writer, std::uint16_t major, std::uint16_t minor) {
  writer.put(kMagic);
  writer.put(major);
  writer.put(minor);
}

std::vector<std::byte> finish(const ByteWriter& writer) {
  return {writer.bytes().begin(), writer.bytes().end()};
}

std::pair<std::uint16_t, std::uint16_t> get_version(ByteReader& reader) {
  if (reader.size() > kHelloSizeBytesMax) throw ProtocolError("hello is too long");
  if (reader.get<std::uint32_t>() != kMagic) throw ProtocolError("hello does not begin with TRMT");
  const auto major = reader.get<std::uint16_t>();
  const auto minor = reader.get<std::uint16_t>();
  return {major, minor};
}

// Calls handle(key, value) for every field.
template <typename Handle>
void for_each_field(ByteReader& reader, Handle handle) {
  while (!reader.empty()) {
    const auto key = reader.get<Key>();
    handle(key, reader.get_string(kHelloSizeBytesMax));
  }
}

template <WireNumber T>
T number(std::string_view field) {
  if (field.size() != sizeof(T)) throw ProtocolError("hello field has the wrong size");
  return ByteReader(std::as_bytes(std::span(field))).get<T>();
}

// Sizes a table on the client's side, so what an executor announces is not taken at its word.
std::uint32_t announced_count(std::string_view field) {
  return std::min(number<std::uint32_t>(field), kAnnouncedCountMax);
}

void set_description(Welcome& welcome, std::string_view field) {
  const auto split = field.find('\0');
  if (split == std::string_view::npos) throw ProtocolError("description field has no key");
  welcome.description.emplace(field.substr(0, split), field.substr(split + 1));
}

}  // namespace

std::vector<std::byte> encode(const Hello& hello) {
  ByteWriter writer;
  put_version(writer, hello.version_major, hello.version_minor);
  put_text(writer, Key::kClientVersion, hello.client_version);
  put_text(writer, Key::kTorchVersion, hello.torch_version);
  put_number(writer, Key::kThreadCount, hello.thread_count);
  // A machine of one device, the usual case, needs no words for it.
  if (hello.device_index != 0) put_number(writer, Key::kDeviceIndex, hello.device_index);
  return finish(writer);
}

std::vector<std::byte> encode(const Welcome& welcome) {
  ByteWriter writer;
  put_version(writer, welcome.version_major, welcome.version_minor);
  if (welcome.device_index != 0) put_number(writer, Key::kDeviceIndex, welcome.device_index);
  put_number(writer, Key::kEpoch, welcome.epoch);
  put_number(writer, Key::kPlanCountMax, welcome.limits.plan_count_max);
  put_number(writer, Key::kOperatorCountMax, welcome.limits.operator_count_max);
  put_number(writer, Key::kStorageSizeBytesMax, welcome.limits.storage_size_bytes_max);
  put_number(writer, Key::kBytesInFlightMax, welcome.limits.bytes_in_flight_max);
  put_number(writer, Key::kOperationsInFlightMax, welcome.limits.operations_in_flight_max);
  if (welcome.device_count != 1) put_number(writer, Key::kDeviceCount, welcome.device_count);
  for (const auto& [key, value] : welcome.description) {
    std::string field = key;
    field.push_back('\0');
    field.append(value);
    put_text(writer, Key::kDescription, field);
  }
  return finish(writer);
}

std::vector<std::byte> encode(const Refusal& refusal) {
  ByteWriter writer;
  put_version(writer, kVersionMajor, kVersionMinor);
  writer.put(refusal.code);
  writer.put_string(refusal.reason);
  return finish(writer);
}

Hello decode_hello(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Hello hello;
  std::tie(hello.version_major, hello.version_minor) = get_version(reader);
  // Fields of another major version may have changed their meaning; the version alone is enough to
  // refuse.
  if (hello.version_major != kVersionMajor) return hello;
  for_each_field(reader, [&](Key key, std::string_view field) {
    switch (key) {
      case Key::kClientVersion:
        hello.client_version = field;
        break;
      case Key::kTorchVersion:
        hello.torch_version = field;
        break;
      case Key::kThreadCount:
        hello.thread_count = number<std::uint32_t>(field);
        break;
      case Key::kDeviceIndex:
        hello.device_index = number<std::uint32_t>(field);
        break;
      default:
        break;
    }
  });
  return hello;
}

Welcome decode_welcome(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Welcome welcome;
  std::tie(welcome.version_major, welcome.version_minor) = get_version(reader);
  if (welcome.version_major != kVersionMajor) return welcome;  // as in decode_hello
  for_each_field(reader, [&](Key key, std::string_view field) {
    Limits& limits = welcome.limits;
    switch (key) {
      case Key::kDeviceIndex:
        welcome.device_index = number<std::uint32_t>(field);
        break;
      case Key::kDeviceCount:
        welcome.device_count = number<std::uint32_t>(field);
        break;
      case Key::kEpoch:
        welcome.epoch = number<std::uint64_t>(field);
        break;
      case Key::kPlanCountMax:
        limits.plan_count_max = announced_count(field);
        break;
      case Key::kOperatorCountMax:
        limits.operator_count_max = announced_count(field);
        break;
      case Key::kStorageSizeBytesMax:
        limits.storage_size_bytes_max = number<std::uint64_t>(field);
        break;
      case Key::kBytesInFlightMax:
        limits.bytes_in_flight_max = number<std::uint64_t>(field);
        break;
      case Key::kOperationsInFlightMax:
        limits.operations_in_flight_max = announced_count(field);
        break;
      case Key::kDescription:
        set_description(welcome, field);
        break;
      default:
        break;
    }
  });
  if (welcome.limits.plan_count_max == 0 || welcome.limits.operator_count_max == 0 ||
      welcome.limits.bytes_in_flight_max == 0 || welcome.limits.operations_in_flight_max == 0) {
    throw ProtocolError("welcome announces a limit of zero");
  }
  return welcome;
}

Refusal decode_refusal(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  get_version(reader);
  Refusal refusal;
  refusal.code = reader.get<RefusalCode>();
  refusal.reason = reader.get_string(kHelloSizeBytesMax);
  return refusal;
}

}  // namespace torch_remote::protocol
