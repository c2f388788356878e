// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The opening of a session: who the client is, what the executor is, and the limits both keep.
// Fields are key, length, bytes; an unknown key is skipped, so either side may add keys freely.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/protocol/wire.h"

namespace torch_remote::protocol {

struct Hello {
  std::uint16_t version_major = kVersionMajor;
  std::uint16_t version_minor = kVersionMinor;
  std::string client_version{};    // of torch-remote, for messages and logs
  std::string torch_version{};     // of the client's torch, for messages and logs
  std::uint32_t thread_count = 0;  // intra-op threads on the executor; 0 leaves its default
  std::uint32_t device_index = 0;  // which of the executor's devices
};

// What the executor accepts. The client checks before it sends.
struct Limits {
  std::uint32_t plan_count_max = 16384;     // plan numbers are below this
  std::uint32_t operator_count_max = 8192;  // operator numbers are below this
  std::uint64_t storage_size_bytes_max = kStorageSizeBytesMax;
  std::uint64_t bytes_in_flight_max = 256u << 20;     // sent and not yet acknowledged
  std::uint32_t operations_in_flight_max = 1u << 16;  // calls sent and not yet acknowledged

  friend bool operator==(const Limits&, const Limits&) = default;
};

struct Welcome {
  std::uint16_t version_major = kVersionMajor;
  std::uint16_t version_minor = kVersionMinor;
  std::uint64_t epoch = 0;  // another value after every start of the executor
  Limits limits{};
  std::uint32_t device_index = 0;  // the one that was asked for
  std::uint32_t device_count = 1;  // how many the executor has
  // What the executor is: "executor", "device", "torch_version", "thread_count", "emulates", ...
  // Text for people and for the client's models; docs/PROTOCOL.md lists the keys.
  std::map<std::string, std::string> description{};
};

struct Refusal {
  RefusalCode code = RefusalCode::kMalformed;
  std::string reason{};
};

std::vector<std::byte> encode(const Hello& hello);
std::vector<std::byte> encode(const Welcome& welcome);
std::vector<std::byte> encode(const Refusal& refusal);

// Each throws ProtocolError with the reason when the bytes are malformed.
Hello decode_hello(std::span<const std::byte> bytes);
Welcome decode_welcome(std::span<const std::byte> bytes);
Refusal decode_refusal(std::span<const std::byte> bytes);

}  // namespace torch_remote::protocol
