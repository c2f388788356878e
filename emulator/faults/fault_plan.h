// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What is to go wrong on an emulated device, and when: for programs that test how they recover.
// What counts is the program's own command stream, operation by operation, so that the same program
// meets the same fault each time, whatever the machine and however its threads run.
//
// A FaultPlan is shared by an observer (fault_observer.h), which counts and refuses, and a channel
// (fault_channel.h), which cuts and delays. Its methods are called under the session's lock, but
// for those that say otherwise.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace torch_remote::emulator {

struct Fault {
  enum class Kind : std::uint8_t {
    kOutOfMemory,  // the at-th storage that the program allocates is refused
    kFailure,      // the at-th call of an operator is refused
    kEnd,          // the executor ends the session at the at-th operation
    kCut,          // the connection breaks at the at-th operation, and comes back
  };
  Kind kind = Kind::kFailure;
  std::uint64_t at = 1;         // from 1, counted since start()
  std::string operator_name{};  // kFailure: "aten::mm" for all its overloads, or "" for any
  std::string message{};        // kFailure and kEnd
  std::chrono::milliseconds duration{0};  // kCut
};

class FaultPlan {
 public:
  // reply_delay: how long each of the executor's messages is under way. Throws
  // std::invalid_argument for an at of 0.
  explicit FaultPlan(std::vector<Fault> faults,
                     std::chrono::microseconds reply_delay = std::chrono::microseconds(0));

  // Nothing is counted and nothing happens before. Any thread.
  void start() { started_ = true; }
  bool started() const { return started_; }

  // Counts an operation; the fault that refuses it, if one does. Ends and cuts are noted as well.
  const Fault* begin_operation(std::string_view operator_name);
  // Counts a storage; the fault that refuses it, if one does.
  const Fault* begin_allocation();
  // The number of the storage that was counted last, from 1.
  std::uint64_t allocations() const { return allocations_; }
  std::uint64_t operations() const { return operations_; }

  // Why the executor has ended the session, once it has.
  const std::optional<std::string>& end() const { return end_; }

  // Which of the faults have happened, by their places in the list, in order. Any thread that holds
  // the session's lock.
  const std::vector<std::size_t>& happened() const { return happened_; }
  const std::vector<Fault>& faults() const { return faults_; }

  // A cut that the channel has not seen yet: how long it lasts.
  std::optional<std::chrono::milliseconds> take_cut();
  std::chrono::microseconds reply_delay() const { return reply_delay_; }

 private:
  bool is_due(std::size_t index, std::uint64_t count) const;
  void note(std::size_t index);

  std::vector<Fault> faults_;
  std::chrono::microseconds reply_delay_;
  std::atomic<bool> started_{false};
  std::uint64_t operations_ = 0;
  std::uint64_t allocations_ = 0;
  std::vector<std::uint64_t> calls_;  // of each kFailure's operator
  std::vector<std::size_t> happened_;
  std::optional<std::string> end_;
  std::optional<std::chrono::milliseconds> cut_;
};

}  // namespace torch_remote::emulator
