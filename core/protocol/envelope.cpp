// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/protocol/envelope.h"

#include <cstring>
#include <string>
#include <type_traits>

#include "core/protocol/bytes.h"

namespace torch_remote::protocol {
namespace {

struct EnvelopeLayout {
  std::uint32_t magic;
  std::uint8_t kind;
  std::uint8_t reserved[3];
  std::uint64_t session;
  std::uint64_t sequence;
  std::uint64_t acknowledged;
  std::uint64_t reserved_tail;
};
static_assert(sizeof(EnvelopeLayout) == kEnvelopeSizeBytes);
static_assert(offsetof(EnvelopeLayout, session) == 8);
static_assert(std::is_trivially_copyable_v<EnvelopeLayout>);

}  // namespace

EnvelopeBytes encode(const Envelope& envelope) {
  const EnvelopeLayout layout{.magic = kMagic,
                              .kind = static_cast<std::uint8_t>(envelope.kind),
                              .reserved = {},
                              .session = envelope.session,
                              .sequence = envelope.sequence,
                              .acknowledged = envelope.acknowledged,
                              .reserved_tail = 0};
  EnvelopeBytes bytes;
  std::memcpy(bytes.data(), &layout, sizeof(layout));
  return bytes;
}

Envelope decode_envelope(std::span<const std::byte> bytes) {
  if (bytes.size() != kEnvelopeSizeBytes) {
    throw ProtocolError("envelope has " + std::to_string(bytes.size()) + " bytes instead of " +
                        std::to_string(kEnvelopeSizeBytes));
  }
  EnvelopeLayout layout;
  std::memcpy(&layout, bytes.data(), sizeof(layout));
  if (layout.magic != kMagic) throw ProtocolError("envelope does not begin with TRMT");
  if (layout.kind < static_cast<std::uint8_t>(MessageKind::kHello) ||
      layout.kind > static_cast<std::uint8_t>(MessageKind::kKeepAlive)) {
    throw ProtocolError("unknown message kind " + std::to_string(layout.kind));
  }
  return {.kind = static_cast<MessageKind>(layout.kind),
          .session = layout.session,
          .sequence = layout.sequence,
          .acknowledged = layout.acknowledged};
}

}  // namespace torch_remote::protocol
