// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/recording.h"

#include <c10/util/ApproximateClock.h>
#include <exception>
#include <utility>

#include "core/client/streams.h"

namespace torch_remote::client {
namespace {

// Never destroyed: threads may run operations after the end of main().
struct Current {
  std::mutex mutex;
  std::shared_ptr<Recording> recording;
  std::atomic<std::uint64_t> generation{0};
};

Current& current() {
  static auto* instance = new Current;  // NOLINT(cppcoreguidelines-owning-memory)
  return *instance;
}

// A thread's operators and annotations, innermost last. What a recording left behind counts no
// more in the next one: it may have ended in the middle of an operator.
class Correlations {
 public:
  void push(std::uint64_t id) {
    renew();
    ids_.push_back(id);
  }
  void pop() {
    renew();
    if (!ids_.empty()) ids_.pop_back();
  }
  std::uint64_t top() {
    renew();
    return ids_.empty() ? 0 : ids_.back();
  }

 private:
  void renew() {
    const std::uint64_t now = current().generation.load(std::memory_order_relaxed);
    if (std::exchange(generation_, now) != now) ids_.clear();
  }
  std::uint64_t generation_ = 0;
  std::vector<std::uint64_t> ids_;
};

thread_local Correlations operators;
thread_local Correlations annotations;

std::uint32_t this_thread() {
  static std::atomic<std::uint32_t> threads{0};
  thread_local const std::uint32_t number = threads++;
  return number;
}

}  // namespace

bool begin_recording(const std::shared_ptr<Recording>& recording) {
  if (current_recording() != nullptr) return false;
  recording->start();
  const std::lock_guard lock(current().mutex);
  if (current().recording != nullptr) return false;
  is_recording = true;
  current().recording = recording;
  ++current().generation;
  return true;
}

void end_recording(const std::shared_ptr<Recording>& recording) {
  const std::lock_guard lock(current().mutex);
  if (current().recording != recording) return;
  is_recording = false;
  current().recording = nullptr;
  ++current().generation;
}

std::shared_ptr<Recording> current_recording() {
  const std::lock_guard lock(current().mutex);
  return current().recording;
}

void push_correlation(std::uint64_t id) { operators.push(id); }
void pop_correlation() { operators.pop(); }
void push_annotation(std::uint64_t id) { annotations.push(id); }
void pop_annotation() { annotations.pop(); }

// ---- Recording ----

void Recording::start() {
  for (int index = 0; index < kDeviceCountMax; ++index) {
    if (Device* device = find_running_device(index)) prepare(*device);
  }
}

void Recording::prepare(Device& device) {
  const auto position = static_cast<std::size_t>(device.index());
  {
    const std::lock_guard lock(mutex_);
    // A device that took the place of another one is left out: the two share an index.
    if (devices_[position].timeline != nullptr) return;
  }
  try {
    auto made = std::make_shared<Timeline>(device, Timeline::Source::kModelIfThere);
    made->calibrate();
    const std::lock_guard lock(mutex_);
    if (devices_[position].timeline == nullptr) devices_[position].timeline.swap(made);
  } catch (const std::exception& error) {
    note_error(device.index(), error.what());
  }
}

std::shared_ptr<Timeline> Recording::find(Device& device) {
  const std::lock_guard lock(mutex_);
  const auto& timeline = devices_[static_cast<std::size_t>(device.index())].timeline;
  return timeline != nullptr && &timeline->device() == &device ? timeline : nullptr;
}

void Recording::add(Entry entry) {
  const std::lock_guard lock(mutex_);
  const auto position = static_cast<std::size_t>(entry.operation.device_index);
  devices_[position].entries.push_back(std::move(entry));
}

std::vector<RecordedOperation> Recording::finish() {
  std::vector<RecordedOperation> operations;
  for (DeviceEntries& device : devices_) {
    DeviceEntries taken;
    {
      const std::lock_guard lock(mutex_);
      taken = std::exchange(device, {});
    }
    if (taken.timeline == nullptr) continue;
    const int index = taken.timeline->device().index();
    try {
      take(std::move(taken), operations);
    } catch (const std::exception& error) {
      note_error(index, error.what());
    }
  }
  return operations;
}

void Recording::take_modelled(DeviceEntries taken, std::vector<RecordedOperation>& operations) {
  const std::int64_t shift_ns = taken.timeline->start_ns() - taken.timeline->modelled_zero_ns();
  for (Entry& entry : taken.entries) {
    RecordedOperation& operation = entry.operation;
    operation.is_modelled = true;
    operation.thread = 0;
    operation.start_ns = shift_ns + entry.span->gpu_start_ns;
    operation.end_ns = shift_ns + entry.span->gpu_end_ns;
    operation.host_start_ns = shift_ns + entry.span->host_start_ns;
    operation.host_end_ns = shift_ns + entry.span->host_end_ns;
    operations.push_back(std::move(operation));
  }
}

void Recording::take(DeviceEntries taken, std::vector<RecordedOperation>& operations) {
  if (taken.timeline->is_modelled()) return take_modelled(std::move(taken), operations);
  const auto times_ns = taken.timeline->times_ns();
  const std::int64_t start_ns = taken.timeline->start_ns();
  std::size_t unknown = 0;
  for (Entry& entry : taken.entries) {
    if (!times_ns.at(entry.start_mark) || !times_ns.at(entry.end_mark)) {
      ++unknown;
      continue;
    }
    entry.operation.start_ns = start_ns + *times_ns[entry.start_mark];
    entry.operation.end_ns = start_ns + *times_ns[entry.end_mark];
    operations.push_back(std::move(entry.operation));
  }
  if (unknown > 0) {
    note_error(taken.timeline->device().index(), "the executor does not know the times of " +
                                                     std::to_string(unknown) + " operations");
  }
}

void Recording::note_error(int device_index, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  errors_.push_back("remote:" + std::to_string(device_index) + ": " + reason);
}

// ---- OperationMark ----

void OperationMark::open(Device& device) {
  auto recording = current_recording();
  auto timeline = recording == nullptr ? nullptr : recording->find(device);
  if (timeline == nullptr) return;
  state_ = std::make_unique<State>(State{.recording = std::move(recording),
                                         .timeline = std::move(timeline),
                                         .opened_ns = c10::getTime()});
}

void OperationMark::begin(session::Session::Turn& turn) {
  state_->stream = current_stream(state_->timeline->device().index());
  if (!state_->timeline->is_modelled())
    state_->start_mark = state_->timeline->mark(turn, state_->stream);
}

void OperationMark::end(session::Session::Turn& turn, RecordedOperation operation,
                        const std::optional<session::ModelledSpan>& span) {
  Timeline& timeline = *state_->timeline;
  if (timeline.is_modelled() && !span) return;  // nothing was there to be observed
  operation.host_start_ns = state_->opened_ns;
  operation.host_end_ns = c10::getTime();
  operation.thread = this_thread();
  operation.allocated_bytes = turn.allocated_bytes();
  operation.device_index = timeline.device().index();
  operation.stream = state_->stream;
  operation.correlation = operators.top();
  operation.annotation = annotations.top();
  const std::size_t end_mark = timeline.is_modelled() ? 0 : timeline.mark(turn, state_->stream);
  state_->recording->add({.operation = std::move(operation),
                          .span = span,
                          .start_mark = state_->start_mark,
                          .end_mark = end_mark});
}

}  // namespace torch_remote::client
