// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/faults/fault_channel.h"

#include <algorithm>
#include <utility>

#include "core/protocol/hello.h"

namespace torch_remote::emulator {

using protocol::MessageKind;
using transport::ConnectionEvent;
using transport::Message;

FaultChannel::FaultChannel(std::unique_ptr<transport::Channel> inner,
                           std::shared_ptr<FaultPlan> plan)
    : inner_(std::move(inner)), plan_(std::move(plan)) {}

void FaultChannel::send(Message& message) {
  follow_plan();
  // The executor's thread has to end, whatever became of the session.
  const bool is_goodbye = message.envelope.kind == MessageKind::kGoodbye;
  if (!is_goodbye && (is_cut_ || plan_->end())) return;
  inner_->send(message);
}

bool FaultChannel::receive(Message& message) {
  follow_plan();
  if (plan_->end()) {
    if (std::exchange(has_told_end_, true)) return false;
    message = transport::make_message({.kind = MessageKind::kRefused},
                                      protocol::encode(protocol::Refusal{.reason = *plan_->end()}));
    return true;
  }
  take_incoming();
  const bool is_there = !incoming_.empty() && incoming_.front().due <= Clock::now();
  if (is_there) {
    message = std::move(incoming_.front().message);
    incoming_.pop_front();
  }
  next_due_ = incoming_.empty() ? Clock::time_point::max() : incoming_.front().due;
  return is_there;
}

ConnectionEvent FaultChannel::next_event() {
  follow_plan();
  if (!is_cut_) return inner_->next_event();
  if (!std::exchange(has_told_cut_, true)) return ConnectionEvent::kDisconnected;
  if (Clock::now() < cut_until_) return ConnectionEvent::kNone;
  is_cut_ = false;
  return ConnectionEvent::kConnected;
}

void FaultChannel::wait(std::chrono::milliseconds timeout) {
  using std::chrono::milliseconds;
  if (is_cut_) timeout = std::min(timeout, milliseconds(1));
  const Clock::time_point due = next_due_;
  if (due != Clock::time_point::max()) {
    const auto left = std::chrono::ceil<milliseconds>(due - Clock::now());
    timeout = std::clamp(left, milliseconds(0), timeout);
  }
  inner_->wait(timeout);
}

// The observer notes a cut while it counts; here the connection follows.
void FaultChannel::follow_plan() {
  const std::optional<std::chrono::milliseconds> cut = plan_->take_cut();
  if (!cut) return;
  is_cut_ = true;
  has_told_cut_ = false;
  cut_until_ = Clock::now() + *cut;
}

// What arrives while the connection is cut was under way, and is lost.
void FaultChannel::take_incoming() {
  for (Message message; inner_->receive(message); message = Message()) {
    if (is_cut_) continue;
    const auto delay = plan_->started() ? plan_->reply_delay() : std::chrono::microseconds(0);
    incoming_.push_back({std::move(message), Clock::now() + delay});
  }
  if (is_cut_) incoming_.clear();
}

}  // namespace torch_remote::emulator
