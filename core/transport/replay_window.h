// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Exactly once, in order: the sender keeps what the other side has not processed yet, the receiver
// knows which sequence comes next. Both sides of a session hold one of each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "core/transport/message.h"

namespace torch_remote::transport {

// Messages sent and not yet acknowledged, oldest first. Not thread-safe.
class ReplayWindow {
 public:
  // Gives the message the next sequence and keeps it. The reference is valid until the next call.
  Message& push(Message message, std::uint32_t operations);

  // The other side has processed everything up to sequence. Ignores what is already gone;
  // throws protocol::ProtocolError for a sequence that was never sent.
  void acknowledge(std::uint64_t sequence);

  // Calls resend(message) for every kept message from sequence on, in order.
  // Throws protocol::ProtocolError when an earlier one is wanted than is kept.
  template <typename Resend>
  void replay(std::uint64_t sequence, Resend resend) {
    check_replayable(sequence);
    for (Entry& entry : entries_) {
      if (entry.message.envelope.sequence >= sequence) resend(entry.message);
    }
  }

  bool empty() const { return entries_.empty(); }
  std::size_t message_count() const { return entries_.size(); }
  std::uint64_t size_bytes() const { return size_bytes_; }
  std::uint64_t operations() const { return operations_; }
  std::uint64_t last_sequence() const { return last_sequence_; }

 private:
  struct Entry {
    Message message;
    std::uint64_t size_bytes;
    std::uint32_t operations;
  };
  void check_replayable(std::uint64_t sequence) const;

  std::deque<Entry> entries_;
  std::uint64_t last_sequence_ = 0;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t operations_ = 0;
};

// Decides what to do with an incoming sequence. Not thread-safe.
class SequenceGate {
 public:
  enum class Verdict { kDeliver, kDuplicate, kGap };

  // kDeliver moves on to the next sequence; the others change nothing.
  Verdict accept(std::uint64_t sequence) {
    if (sequence < expected_) return Verdict::kDuplicate;
    if (sequence > expected_) return Verdict::kGap;
    ++expected_;
    return Verdict::kDeliver;
  }
  std::uint64_t expected() const { return expected_; }
  std::uint64_t accepted() const { return expected_ - 1; }

 private:
  std::uint64_t expected_ = 1;
};

}  // namespace torch_remote::transport
