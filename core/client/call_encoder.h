// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A call taken apart: the words that decide which plan it is, and the bytes that go into the call.
// The hot path of the client: no memory is taken for calls of ordinary size.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/SmallVector.h>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/client/operator_record.h"
#include "core/protocol/bytes.h"
#include "core/session/plan_table.h"

namespace torch_remote::client {

struct EncodedCall {
  c10::SmallVector<std::uint64_t, 96> key;
  c10::SmallVector<std::byte, 512> values;
  std::uint64_t hash = 0;
  int device_index = -1;
  bool has_sparse_arguments = false;

  session::PlanKey plan_key() const { return {key.data(), key.size()}; }
  std::span<const std::byte> value_bytes() const { return {values.data(), values.size()}; }
  template <typename T>
  void append(T value) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    values.append(bytes, bytes + sizeof(value));
  }
};

// Takes the arguments of an operator apart. Throws c10::Error naming operator and argument for
// tensors on different devices, and for what can't travel.
void encode_call(const OperatorRecord& record, c10::ArrayRef<c10::IValue> arguments,
                 EncodedCall& call);

// Writes the arguments' part of the plan's definition (core/protocol/plan.h); they were encoded
// before.
void define_arguments(const OperatorRecord& record, c10::ArrayRef<c10::IValue> arguments,
                      protocol::ByteWriter& writer);

}  // namespace torch_remote::client
