// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The devices of this process: remote:0, remote:1, ... and the session, plans and operators of
// each.
#pragma once

#include <ATen/core/Tensor.h>
#include <atomic>
#include <c10/core/Device.h>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/client/plan.h"
#include "core/protocol/replies.h"
#include "core/session/plan_table.h"
#include "core/session/session.h"

namespace torch_remote::client {

// The most devices at a time. PyTorch's autograd starts one thread for each at the first backward
// and never more, so this number is what it is told from the start.
inline constexpr int kDeviceCountMax = 16;

// Whether this process was forked from the one that made the devices: their connections, locks and
// threads are the parent's, so that nothing here may touch them.
inline std::atomic<bool> is_forked_child{false};
[[noreturn]] void raise_forked_child();

// To be called in the child after a fork. Does nothing, and returns false, when no device runs.
bool disown_devices() noexcept;

// One device. Never destroyed: tensors and threads may hold on to it after it was stopped, when its
// session answers everything with SessionLost.
class Device {
 public:
  Device(int index, std::unique_ptr<session::Session> session, std::shared_ptr<void> executor);

  int index() const { return index_; }
  c10::Device torch_device() const {
    return {c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(index_)};
  }
  // Throws c10::Error in a forked child.
  session::Session& session() {
    if (is_forked_child.load(std::memory_order_relaxed)) [[unlikely]]
      raise_forked_child();
    return *session_;
  }

  Kernels kernels() const { return kernels_; }
  // Whether it stands for a GPU: then operators are to be those that the GPU would get.
  bool emulates_gpu() const { return emulates_gpu_; }
  // Whether the executor computes, so that it can be asked what its kernels make of a call.
  bool has_values() const { return has_values_; }

  // Of an emulated GPU; 0 where it is not known. To be set before the device is registered.
  std::uint64_t memory_size_bytes() const { return memory_size_bytes_; }
  void set_memory_size_bytes(std::uint64_t size_bytes) { memory_size_bytes_ = size_bytes; }

  // What memory statistics had accumulated when they were reset. Thread-safe.
  protocol::Numbers accumulated_before() const;
  void set_accumulated_before(protocol::Numbers numbers);

  // What the device's recurrent networks draw their dropout from: made when the first one drops,
  // and dropped by stop(), since an index is free only when no tensor is left. Thread-safe; `make`
  // is called under a lock.
  at::Tensor dropout_state(const std::function<at::Tensor()>& make);

  // The members below are guarded by the session's lock: use them within a Turn.
  session::PlanTable& plan_table() { return plan_table_; }
  std::shared_ptr<const ClientPlan>& plan(std::uint32_t number) { return plans_[number]; }
  // True the first time that an operator is used here: it has to be defined first.
  bool needs_definition(std::uint32_t operator_number);

  // Ends the session, then the in-process executor. Returns the failures that nothing ever read.
  std::vector<protocol::Failure> stop();
  bool stopped() const { return stopped_ || is_forked_child; }

 private:
  int index_;
  std::shared_ptr<void> executor_;  // an in-process executor, which has to outlive the session
  std::unique_ptr<session::Session> session_;
  Kernels kernels_;
  bool emulates_gpu_;
  bool has_values_;
  std::uint64_t memory_size_bytes_ = 0;
  mutable std::mutex numbers_mutex_;
  protocol::Numbers accumulated_before_;
  std::mutex dropout_mutex_;
  at::Tensor dropout_state_;
  session::PlanTable plan_table_;
  std::vector<std::shared_ptr<const ClientPlan>> plans_;
  std::vector<bool> defined_operators_;
  std::atomic<bool> stopped_{false};
};

// The device behind an index; one that is pending is started first. Throws c10::Error saying how to
// make one when there is none, and what the start throws.
Device& device_at(int index);
Device& device_of(const c10::Device& device);  // index -1 is the current device

// An index that no tensor uses, kept for a device that is being made. Threads may make theirs at
// the same time.
class ReservedIndex {
 public:
  // Throws c10::Error when all are taken.
  ReservedIndex();
  ReservedIndex(const ReservedIndex&) = delete;
  ReservedIndex& operator=(const ReservedIndex&) = delete;
  ~ReservedIndex();

  int value() const { return value_; }

 private:
  int value_;
};

void register_device(std::unique_ptr<Device> device);  // under an index that is reserved

// A device that is made when an operation needs it: start(index) has to register it under the
// index, or throw; then the next operation tries again. It is called without a lock of ours, on the
// thread of the operation, and by several threads at a time. Returns the index.
using DeviceStarter = std::function<void(int index)>;
int add_pending_device(DeviceStarter start);
bool is_pending(int index);
// Its operations raise from then on; a connection that is being made for it is closed.
void cancel_pending_device(int index);

// A pending device on its way: its index is nobody else's meanwhile, also when it is cancelled.
class PendingDevice {
 public:
  explicit PendingDevice(int index);  // throws c10::Error where none is pending
  PendingDevice(const PendingDevice&) = delete;
  PendingDevice& operator=(const PendingDevice&) = delete;
  ~PendingDevice();

  // The device takes the place of the pending one. Throws c10::Error, after closing the device's
  // session, if it was cancelled meanwhile.
  void become(std::unique_ptr<Device> device);

 private:
  int index_;
};

// Another number for each device of this process, pending ones as well, while indices are used
// again. 0 where there is none.
std::uint64_t device_serial(int index);
bool is_running(int index);
Device* find_running_device(int index) noexcept;  // none in a forked child
int device_count();                               // indices in use are below it

// The thread's current device, as torch.cuda has one.
int current_device_index();
int exchange_device_index(int index);

}  // namespace torch_remote::client
