// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Frame 1 of a kReplies message: what the executor answers, in the order in which it happened.
//
//   reply := kind:u8 ...
//   failure         failure                                     an operation failed; sent once for
//   each bytes           token:u32 frames:u32 size_bytes:u64         then the bytes: inline when
//   frames is 0 outputs         token:u32 count:u32 described* generator state token:u32
//   state:string synchronized    token:u32 failed          token:u32 failure numbers
//   token:u32 count:u32 (name:string value:i64)*
//
//   failure   := operation:u64 error_kind:u8 operator:string message:string
//   described := kind:u8 ...    (see DescribedOutput::Kind)
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/protocol/bytes.h"
#include "core/protocol/commands.h"
#include "core/protocol/sparse_layout.h"
#include "core/protocol/tensor_layout.h"
#include "core/protocol/wire.h"

namespace torch_remote::protocol {

// Why an operation failed. operation counts the session's calls from 1, so the client can say where
// in the user's program it was made; 0 when it was no call.
struct Failure {
  std::uint64_t operation = 0;
  ErrorKind kind = ErrorKind::kRuntime;
  std::string operator_name{};
  std::string message{};

  friend bool operator==(const Failure&, const Failure&) = default;
};

// One result of a call whose outputs only the executor could know.
struct DescribedOutput {
  enum class Kind : std::uint8_t {
    kUndefined = 0,
    kTensor = 1,     // layout storage_size_bytes:u64; the tensor begins at its storage's first byte
    kInteger = 2,    // i64
    kBoolean = 3,    // u8
    kDouble = 4,     // f64
    kListBegin = 5,  // the tensors up to kListEnd are one list
    kListEnd = 6,
    kSparseTensor = 7,   // sparse layout; its components follow, each a kTensor or kKeptComponent
    kKeptComponent = 8,  // of a sparse argument that was written: the one that it has had
  };
  Kind kind = Kind::kUndefined;
  TensorLayout layout{};
  SparseLayout sparse{};
  std::uint64_t storage_size_bytes = 0;
  std::int64_t integer = 0;  // kInteger, kBoolean
  double number = 0;         // kDouble

  friend bool operator==(const DescribedOutput&, const DescribedOutput&) = default;
};

// Names in the order of their letters.
using Numbers = std::map<std::string, std::int64_t>;

// Appends replies to a batch. Not thread-safe.
class ReplyWriter {
 public:
  void failure(const Failure& failure);
  void bytes(Token token, std::span<const std::byte> bytes);
  void byte_frames(Token token, std::uint64_t size_bytes, std::uint32_t frames);
  void outputs(Token token, std::span<const DescribedOutput> outputs);
  void generator_state(Token token, std::span<const std::byte> state);
  void synchronized(Token token);
  void failed(Token token, const Failure& failure);
  void numbers(Token token, const Numbers& numbers);

  void clear() { writer_.clear(); }
  bool empty() const { return writer_.empty(); }
  std::size_t size_bytes() const { return writer_.size(); }
  std::span<const std::byte> bytes() const { return writer_.bytes(); }

 private:
  ByteWriter writer_;
};

// Receives the replies of a batch in order. Spans are valid during the call.
class ReplyHandler {
 public:
  virtual ~ReplyHandler() = default;
  virtual void failure(Failure failure) = 0;
  virtual void bytes(Token token, std::span<const std::byte> bytes) = 0;
  virtual void byte_frames(Token token, std::uint64_t size_bytes, std::uint32_t frames) = 0;
  virtual void outputs(Token token, std::vector<DescribedOutput> outputs) = 0;
  virtual void generator_state(Token token, std::span<const std::byte> state) = 0;
  virtual void synchronized(Token token) = 0;
  virtual void failed(Token token, Failure failure) = 0;
  virtual void numbers(Token token, Numbers numbers) = 0;
};

// Throws ProtocolError at the first malformed reply; the ones before it have been handled.
void for_each_reply(std::span<const std::byte> batch, ReplyHandler& handler);

}  // namespace torch_remote::protocol
