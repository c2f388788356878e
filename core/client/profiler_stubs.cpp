// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// For PyTorch's older profiler, which marks the beginning and the end of each operator itself, and
// asks for the time between two marks when the profile is looked at.
#include <array>
#include <c10/util/ApproximateClock.h>
#include <c10/util/Exception.h>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <torch/csrc/profiler/stubs/base.h>
#include <utility>
#include <vector>

#include "core/client/device.h"
#include "core/client/errors.h"
#include "core/client/profiler.h"
#include "core/client/streams.h"
#include "core/client/timeline.h"

namespace torch_remote::client {
namespace {

using torch::profiler::impl::ProfilerVoidEventStub;

// The marks of one profile, or of several that overlap, on one device. Their times are read
// together, when the first of them is asked for.
class Marks {
 public:
  explicit Marks(Device& device) : timeline_(device) {}

  Device& device() const { return timeline_.device(); }

  std::size_t add() {
    const std::uint32_t stream = current_stream(device().index());
    auto turn = device().session().turn(stream);
    return timeline_.mark(turn, stream);
  }

  std::optional<std::int64_t> time_ns(std::size_t mark) {
    const std::lock_guard lock(mutex_);
    if (mark >= times_ns_.size()) times_ns_ = timeline_.times_ns();
    return times_ns_.at(mark);
  }

 private:
  Timeline timeline_;
  std::mutex mutex_;
  std::vector<std::optional<std::int64_t>> times_ns_;
};

struct MarkOfDevice {
  std::shared_ptr<Marks> marks;
  std::size_t mark;
};

const MarkOfDevice& mark_of(const ProfilerVoidEventStub* event) {
  return *static_cast<const MarkOfDevice*>(event->get());
}

class RemoteStubs final : public torch::profiler::impl::ProfilerStubs {
 public:
  bool enabled() const override { return true; }

  // In the current stream of the current device; none where that does not run.
  void record(c10::DeviceIndex* device_index, ProfilerVoidEventStub* event,
              std::int64_t* cpu_ns) const override {
    const int index = current_device_index();
    if (device_index != nullptr) *device_index = static_cast<c10::DeviceIndex>(index);
    if (cpu_ns != nullptr) *cpu_ns = c10::getTime();
    Device* device = find_running_device(index);
    if (device == nullptr) return;
    with_torch_errors(index, [&] {
      auto marks = marks_of(*device);
      const std::size_t mark = marks->add();
      *event =
          std::make_shared<MarkOfDevice>(MarkOfDevice{.marks = std::move(marks), .mark = mark});
    });
  }

  // Microseconds.
  float elapsed(const ProfilerVoidEventStub* start,
                const ProfilerVoidEventStub* end) const override {
    const MarkOfDevice& from = mark_of(start);
    const MarkOfDevice& to = mark_of(end);
    TORCH_CHECK(from.marks == to.marks, "there is no common time of two devices");
    return with_torch_errors(from.marks->device().index(), [&] {
      const auto start_ns = from.marks->time_ns(from.mark);
      const auto end_ns = to.marks->time_ns(to.mark);
      TORCH_CHECK(start_ns && end_ns, "the executor does not know the time of this operator");
      return static_cast<float>(static_cast<double>(*end_ns - *start_ns) / 1e3);
    });
  }

  // For tools that the executor has none of.
  void mark(const char* /*name*/) const override {}
  void rangePush(const char* /*name*/) const override {}
  void rangePop() const override {}

  void onEachDevice(std::function<void(int)> action) const override {
    for (int index = 0; index < kDeviceCountMax; ++index) {
      if (is_running(index)) action(index);
    }
  }
  void synchronize() const override {
    const int index = current_device_index();
    if (Device* device = find_running_device(index))
      with_torch_errors(index, [&] { device->session().settle(); });
  }

 private:
  // Marks live as long as one of their events.
  std::shared_ptr<Marks> marks_of(Device& device) const {
    const std::lock_guard lock(mutex_);
    std::weak_ptr<Marks>& weak = marks_[static_cast<std::size_t>(device.index())];
    auto marks = weak.lock();
    if (marks == nullptr || &marks->device() != &device) {
      marks = std::make_shared<Marks>(device);
      weak = marks;
    }
    return marks;
  }

  mutable std::mutex mutex_;
  mutable std::array<std::weak_ptr<Marks>, kDeviceCountMax> marks_;
};

}  // namespace

void register_profiler_stubs() {
  static auto* stubs =
      new RemoteStubs;  // NOLINT(cppcoreguidelines-owning-memory): PyTorch keeps it
  torch::profiler::impl::registerPrivateUse1Methods(stubs);
}

}  // namespace torch_remote::client
