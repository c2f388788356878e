// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A connection with the faults of a FaultPlan: it breaks and comes back, it is slow, and at the end
// of the session the executor says why. The session resumes as over a real network.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>

#include "core/transport/channel.h"
#include "emulator/faults/fault_plan.h"

namespace torch_remote::emulator {

class FaultChannel final : public transport::Channel {
 public:
  FaultChannel(std::unique_ptr<transport::Channel> inner, std::shared_ptr<FaultPlan> plan);

  void send(transport::Message& message) override;
  bool receive(transport::Message& message) override;
  transport::ConnectionEvent next_event() override;
  void wait(std::chrono::milliseconds timeout) override;
  void wake() override { inner_->wake(); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Delayed {
    transport::Message message;
    Clock::time_point due;
  };

  void follow_plan();
  void take_incoming();

  std::unique_ptr<transport::Channel> inner_;
  std::shared_ptr<FaultPlan> plan_;
  std::deque<Delayed> incoming_;
  bool has_told_end_ = false;
  bool has_told_cut_ = true;
  Clock::time_point cut_until_{};
  // Read by wait(), which runs without the session's lock.
  std::atomic<bool> is_cut_{false};
  std::atomic<Clock::time_point> next_due_{Clock::time_point::max()};
};

}  // namespace torch_remote::emulator
