// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the fuzzers do with arbitrary bytes: decode them, and check that what was understood means
// the same when it is encoded and decoded again. Shared by the *_fuzz.cpp (libFuzzer) and
// fuzz_test.cpp (any compiler).
#pragma once

#include <algorithm>
#include <cstdlib>
#include <span>
#include <vector>

#include "core/protocol/envelope.h"
#include "core/protocol/hello.h"
#include "core/protocol/samples_for_test.h"

namespace torch_remote::protocol {

inline void require(bool condition) {
  if (!condition) std::abort();  // what a fuzzer takes for a finding
}

inline std::vector<std::byte> encode_plan(const PlanDefinition& plan) {
  ByteWriter writer;
  put_plan(writer, plan);
  return {writer.bytes().begin(), writer.bytes().end()};
}

inline void fuzz_envelope(std::span<const std::byte> bytes) {
  try {
    const Envelope envelope = decode_envelope(bytes);
    require(decode_envelope(encode(envelope)) == envelope);
  } catch (const ProtocolError&) {
  }
}

inline void fuzz_hello(std::span<const std::byte> bytes) {
  const auto attempt = [&](auto decode) {
    try {
      const auto once = encode(decode(bytes));
      require(encode(decode(once)) == once);
    } catch (const ProtocolError&) {
    }
  };
  attempt([](std::span<const std::byte> from) { return decode_hello(from); });
  attempt([](std::span<const std::byte> from) { return decode_welcome(from); });
  attempt([](std::span<const std::byte> from) { return decode_refusal(from); });
}

inline void fuzz_plan(std::span<const std::byte> bytes) {
  try {
    ByteReader reader(bytes);
    const auto once = encode_plan(get_plan(reader));
    ByteReader again(once);
    const PlanDefinition plan = get_plan(again);
    require(again.empty() && encode_plan(plan) == once);
    const CallShape shape = call_shape(plan);
    for (const auto* positions :
         {&shape.read_id_positions, &shape.written_id_positions, &shape.output_id_positions}) {
      for (const std::uint32_t position : *positions) {
        require(position + 8 <= shape.values_size_bytes);
      }
    }
  } catch (const ProtocolError&) {
  }
}

inline void fuzz_commands(std::span<const std::byte> bytes) {
  CommandRecorder recorder;
  try {
    for_each_command(bytes, recorder);
  } catch (const ProtocolError&) {
  }
  for (const PlanDefinition& plan : recorder.plans) fuzz_plan(encode_plan(plan));
  fuzz_plan(bytes);
}

inline void fuzz_replies(std::span<const std::byte> bytes) {
  ReplyRecorder recorder;
  try {
    for_each_reply(bytes, recorder);
  } catch (const ProtocolError&) {
  }
  for (const Failure& failure : recorder.failures) {
    ReplyWriter writer;
    writer.failure(failure);
    ReplyRecorder again;
    for_each_reply(writer.bytes(), again);
    require(again.failures.front() == failure);
  }
  for (const auto& outputs : recorder.described) {
    ReplyWriter once, twice;
    once.outputs(0, outputs);
    ReplyRecorder again;
    for_each_reply(once.bytes(), again);
    twice.outputs(0, again.described.front());
    require(std::ranges::equal(once.bytes(), twice.bytes()));
  }
}

}  // namespace torch_remote::protocol
