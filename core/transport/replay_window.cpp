// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/transport/replay_window.h"

#include <string>
#include <utility>

#include "core/protocol/bytes.h"

namespace torch_remote::transport {

Message& ReplayWindow::push(Message message, std::uint32_t operations) {
  message.envelope.sequence = ++last_sequence_;
  const std::uint64_t size_bytes = message.size_bytes();
  size_bytes_ += size_bytes;
  operations_ += operations;
  entries_.push_back(
      {.message = std::move(message), .size_bytes = size_bytes, .operations = operations});
  return entries_.back().message;
}

void ReplayWindow::acknowledge(std::uint64_t sequence) {
  if (sequence > last_sequence_) {
    throw protocol::ProtocolError("sequence " + std::to_string(sequence) +
                                  " is acknowledged but was never sent");
  }
  while (!entries_.empty() && entries_.front().message.envelope.sequence <= sequence) {
    size_bytes_ -= entries_.front().size_bytes;
    operations_ -= entries_.front().operations;
    entries_.pop_front();
  }
}

void ReplayWindow::check_replayable(std::uint64_t sequence) const {
  const std::uint64_t oldest = last_sequence_ - entries_.size() + 1;
  if (sequence < oldest || sequence > last_sequence_ + 1) {
    throw protocol::ProtocolError("sequence " + std::to_string(sequence) +
                                  " can't be replayed: " + std::to_string(oldest) + " to " +
                                  std::to_string(last_sequence_) + " are kept");
  }
}

}  // namespace torch_remote::transport
