// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Frame 0 of every message: kind, session, sequence and what was received from the other side.
// Its layout is fixed forever, so that any two versions can refuse each other politely.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/protocol/wire.h"

namespace torch_remote::protocol {

struct Envelope {
  MessageKind kind = MessageKind::kAcknowledge;
  std::uint64_t session = 0;  // chosen by the client at random, never 0
  std::uint64_t sequence =
      0;  // 1, 2, ... in kCommands and kReplies; kResumed: expected next; else 0
  std::uint64_t acknowledged = 0;  // highest sequence that the sender has fully processed

  friend bool operator==(const Envelope&, const Envelope&) = default;
};

using EnvelopeBytes = std::array<std::byte, kEnvelopeSizeBytes>;

EnvelopeBytes encode(const Envelope& envelope);

// Throws ProtocolError when the bytes are no envelope: wrong size, magic, or kind.
Envelope decode_envelope(std::span<const std::byte> bytes);

}  // namespace torch_remote::protocol
