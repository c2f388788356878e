// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a profile is made of: every operation and copy while one is taken, between two marks on its
// device's timeline. Where none is, an operation looks at one flag.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/client/device.h"
#include "core/client/timeline.h"
#include "core/session/session.h"

namespace torch_remote::client {

// One operation on the device. Times are nanoseconds since 1970; where time is modelled, both of
// the device and the host are the model's, and begin when the recording did.
struct RecordedOperation {
  enum class Kind : std::uint8_t { kOperator, kCopyToDevice, kCopyFromDevice };
  Kind kind = Kind::kOperator;
  std::string name;
  int device_index = 0;
  std::uint32_t stream = 0;
  std::uint32_t thread = 0;  // which of the program's; all are one where time is modelled
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  std::int64_t host_start_ns = 0;  // of the call, in the program's thread
  std::int64_t host_end_ns = 0;
  bool is_modelled = false;
  std::uint64_t size_bytes = 0;       // of a copy
  std::uint64_t allocated_bytes = 0;  // on the device, when it was called
  std::uint32_t location = 0;         // source_location.h
  std::uint64_t correlation = 0;      // PyTorch's number of the operator that called it; 0 for none
  std::uint64_t annotation = 0;       // and of the record_function around that
};

// Thread-safe.
class Recording {
 public:
  // Makes a timeline of each running device. Waits for them. A device that can't is left out.
  void start();
  // The same for one that may have come later.
  void prepare(Device& device);
  // The operations that had ended, device by device. Waits for the devices.
  std::vector<RecordedOperation> finish();
  // Devices of which something is missing, and why.
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  friend class OperationMark;

  struct Entry {
    RecordedOperation operation;
    std::optional<session::ModelledSpan> span{};
    std::size_t start_mark = 0;  // where there is no span
    std::size_t end_mark = 0;
  };
  struct DeviceEntries {
    std::shared_ptr<Timeline> timeline;
    std::vector<Entry> entries;
  };

  std::shared_ptr<Timeline> find(Device& device);  // null where there is none
  void add(Entry entry);
  void take(DeviceEntries taken, std::vector<RecordedOperation>& operations);
  static void take_modelled(DeviceEntries taken, std::vector<RecordedOperation>& operations);
  void note_error(int device_index, const std::string& reason);

  // May be taken while a session's lock is held; no session is called under it.
  std::mutex mutex_;
  std::array<DeviceEntries, kDeviceCountMax> devices_;
  std::vector<std::string> errors_;
};

// Starts the recording and makes it the one that is taken now. False, and nothing is changed, while
// another one is.
bool begin_recording(const std::shared_ptr<Recording>& recording);
// No operation is recorded any more if it is the one that is taken now; those under way keep
// theirs.
void end_recording(const std::shared_ptr<Recording>& recording);
std::shared_ptr<Recording> current_recording();
inline std::atomic<bool> is_recording{false};

// To be called before the turn of an operation, since a new device's timeline needs a wait.
inline void prepare_recording(Device& device) {
  if (is_recording.load(std::memory_order_relaxed)) [[unlikely]] {
    if (const auto recording = current_recording()) recording->prepare(device);
  }
}

// PyTorch tells each thread's operators and annotations as they begin and end.
void push_correlation(std::uint64_t id);
void pop_correlation();
void push_annotation(std::uint64_t id);
void pop_annotation();

// Stands around one operation; does nothing where nothing is recorded. It has to outlive the turns
// that are given to it.
class OperationMark {
 public:
  explicit OperationMark(Device& device) {
    if (is_recording.load(std::memory_order_relaxed)) [[unlikely]]
      open(device);
  }
  OperationMark(const OperationMark&) = delete;
  OperationMark& operator=(const OperationMark&) = delete;

  explicit operator bool() const { return state_ != nullptr; }
  // Before and after the operation, in its stream. The turn may be the same one. Both only where
  // something is recorded. The span is what the operation's turn said of it.
  void begin(session::Session::Turn& turn);
  void end(session::Session::Turn& turn, RecordedOperation operation,
           const std::optional<session::ModelledSpan>& span);

 private:
  struct State {
    std::shared_ptr<Recording> recording;
    std::shared_ptr<Timeline> timeline;
    std::int64_t opened_ns = 0;
    std::uint32_t stream = 0;
    std::size_t start_mark = 0;
  };
  void open(Device& device);

  std::unique_ptr<State> state_;
};

}  // namespace torch_remote::client
