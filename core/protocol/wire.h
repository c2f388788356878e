// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Every number that appears on the wire, declared once: versions, message and command kinds,
// limits. docs/PROTOCOL.md is the manual to this folder; a retired number is kept here and never
// reused.
#pragma once

#include <cstddef>
#include <cstdint>

namespace torch_remote::protocol {

inline constexpr std::uint32_t kMagic = 0x544D5254;  // "TRMT" in little-endian order.
inline constexpr std::uint16_t kVersionMajor = 1;    // Must be equal on both sides.
inline constexpr std::uint16_t kVersionMinor = 0;    // The smaller of both is spoken.

// Who sends each kind is given by the arrow; frame 0 of every message is an Envelope of that kind.
enum class MessageKind : std::uint8_t {
  kHello = 1,        // client -> executor: opens a session
  kWelcome = 2,      // executor -> client: the session is open; limits and description
  kRefused = 3,      // executor -> client: no session, or no longer; code and reason
  kCommands = 4,     // client -> executor: a batch of commands, sequenced
  kReplies = 5,      // executor -> client: a batch of replies, sequenced
  kAcknowledge = 6,  // both: nothing but the envelope's acknowledged sequence
  kResume = 7,       // client -> executor after a reconnect: which sequence do you expect?
  kResumed = 8,      // executor -> client: the sequence that it expects next
  kGoodbye = 9,      // client -> executor: the session ends, its storages are freed
  kKeepAlive = 10,   // client -> executor: the client still runs
};

enum class CommandKind : std::uint8_t {
  kDefineOperator = 1,
  kDefinePlan = 2,
  kCall = 3,
  kCallAndDescribe = 4,  // a call whose output metadata only the executor can know
  kAllocate = 5,
  kFree = 6,
  kWrite = 7,        // bytes follow in the command
  kWriteFrames = 8,  // bytes follow in payload frames
  kRead = 9,
  kResize = 10,
  kRename = 11,
  kSeed = 12,
  kGetGeneratorState = 13,
  kSetGeneratorState = 14,
  kSynchronize = 15,
  kUseStream = 16,  // what follows is done in the order of this stream
  kRecordEvent = 17,
  kWaitEvent = 18,
  kFreeEvent = 19,
  kQueryEvent = 20,
  kSynchronizeEvent = 21,
  kElapsedTime = 22,
  kRecordStream = 23,  // a storage is used by a stream, too
  kGetMemoryStatistics = 24,
  kResetPeakMemory = 25,
  kEmptyCache = 26,
};

enum class ReplyKind : std::uint8_t {
  kFailure = 1,         // an operation failed; unsolicited
  kBytes = 2,           // answers kRead: payload frames or inline bytes
  kOutputs = 3,         // answers kCallAndDescribe, kQueryEvent, kElapsedTime
  kGeneratorState = 4,  // answers kGetGeneratorState
  kSynchronized = 5,    // answers kSynchronize, kSynchronizeEvent
  kFailed = 6,          // answers any request whose operands or operation failed
  kNumbers = 7,         // answers kGetMemoryStatistics
};

// What the caller should do about an error decides its kind: each becomes one Python exception
// type.
enum class ErrorKind : std::uint8_t {
  kRuntime = 0,         // RuntimeError
  kIndex = 1,           // IndexError
  kValue = 2,           // ValueError
  kType = 3,            // TypeError
  kNotImplemented = 4,  // NotImplementedError
  kOutOfMemory = 5,     // torch.OutOfMemoryError
  kLinearAlgebra = 6,   // torch.linalg.LinAlgError
  kUnknownOperator =
      7,             // NotImplementedError: the executor lacks the operator or has another schema
  kProtocol = 8,     // RuntimeError: malformed bytes; the session ends
  kAccelerator = 9,  // torch.AcceleratorError: the executor's device failed
};

enum class RefusalCode : std::uint16_t {
  kVersion = 1,         // other major version
  kMalformed = 2,       // a message that breaks the protocol
  kUnknownSession = 3,  // the executor was restarted, or the session timed out
  kTooManySessions = 4,
  kUnavailable = 5,  // the executor can't be made (device missing, bad option)
  kEnding = 6,       // the executor is about to end
};

// Streams beside the default one, 0: as many as CUDA's pools hold, 32 of each priority.
inline constexpr std::uint32_t kStreamsPerPriority = 32;
inline constexpr std::uint32_t kStreamMax = 2 * kStreamsPerPriority;  // from 33 on: high priority

// PyTorch's ScalarType numbers, which are stable across its versions (c10/core/ScalarType.h).
using DataType = std::uint8_t;
inline constexpr DataType kDataTypeBytes = 0;  // uint8, for untyped storage

// Bounds that hold before any limit has been negotiated.
inline constexpr std::size_t kEnvelopeSizeBytes = 40;
inline constexpr std::size_t kHelloSizeBytesMax = 64 * 1024;
inline constexpr std::size_t kDimensionsMax =
    64;  // at::kDimVectorStaticSize is 5; PyTorch allows 64
inline constexpr std::size_t kPayloadFrameSizeBytes = 1 << 20;  // measured best for bulk transfers
inline constexpr std::size_t kPayloadFramesMax = 64;            // frames in one message
inline constexpr std::size_t kBatchSizeBytesMax = 64u << 20;    // frame 1 of a kCommands message
inline constexpr std::size_t kNameSizeBytesMax = 1024;
inline constexpr std::uint32_t kAnnouncedCountMax =
    1 << 20;  // counts in a welcome; more counts as this
inline constexpr std::size_t kArgumentsMax = 256;
inline constexpr std::size_t kListElementsMax = 1 << 20;
inline constexpr std::uint64_t kStorageSizeBytesMax = std::uint64_t{1} << 48;

}  // namespace torch_remote::protocol
