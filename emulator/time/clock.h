// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// When things happen on one GPU: a deterministic model of the program's thread, the streams, the
// copy engines and the waits between them. The caller tells what the program calls, in its order,
// and what each operation costs; the clock only compares and adds whole nanoseconds, so the same
// program has the same times on every machine. docs/EMULATOR.md has the rules for users.
//
// The program's time advances by its calls and waits alone: what it computes in between takes no
// time here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/session/observer.h"
#include "emulator/time/clock_costs.h"
#include "emulator/time/launch_queue.h"
#include "emulator/time/network_link.h"
#include "emulator/time/network_model.h"
#include "emulator/time/shared_engine.h"

namespace torch_remote::emulator {

// The numbers of streams and events are the session's.
using StreamNumber = std::uint32_t;
using EventNumber = std::uint64_t;

// A copy between host and GPU.
struct LinkCopy {
  std::uint64_t size_bytes = 0;
  bool is_to_device = false;
  bool is_pinned = false;
  bool is_blocking = true;  // the program goes on when the bytes have arrived
};

// Bytes of an operation in a batch, where its caller doesn't know better.
inline constexpr std::uint32_t kOperationSizeBytes = 48;

// A value: copies go on by themselves. Not thread-safe. A call of launch() takes tens of
// nanoseconds.
class Clock {
 public:
  // Throws std::invalid_argument for impossible options of the network.
  explicit Clock(const ClockCosts& costs, const NetworkOptions& network = {});

  // An operation. Its kernels run one after the other, each when the stream is free and its launch
  // has arrived; while 1024 of them are queued, the host waits.
  void launch(StreamNumber stream, const OperationCost& cost,
              std::uint32_t message_size_bytes = kOperationSizeBytes) {
    span_.host_start_ns = host_ns_;
    host_ns_ += cost.host_ns;
    if (cost.kernel_count == 0) {
      span_.host_end_ns = host_ns_;
      span_.gpu_start_ns = span_.gpu_end_ns = state(stream).ready_ns;
      return;
    }
    launch_kernels(stream, cost, message_size_bytes);
  }

  void copy(StreamNumber stream, const LinkCopy& copy);
  // Views of tensors, which are the program's work alone.
  void make_views(std::uint32_t count) { host_ns_ += count * costs_.view_ns; }
  // A tensor that no operator fills.
  void allocate() { host_ns_ += costs_.allocate_ns; }
  // The allocator asks the driver for memory, or gives it back, which waits for all streams: so
  // many pieces, and so many bytes in all of them.
  void device_malloc(std::uint32_t count, std::uint64_t size_bytes);
  void device_free(std::uint32_t count, std::uint64_t size_bytes);

  void record_event(EventNumber event, StreamNumber stream, bool with_time);
  void wait_event(EventNumber event, StreamNumber stream);
  void free_event(EventNumber event) noexcept { events_.erase(event); }
  // Whether the event has passed. A call takes time, so whoever asks again and again sees it pass.
  // Nothing for an event that was never recorded.
  std::optional<bool> query_event(EventNumber event);
  // Nothing where one of them has no time.
  std::optional<double> elapsed_time_ms(EventNumber start, EventNumber end) const;

  // The program waits: for all streams, or for an event.
  void synchronize();
  void synchronize_event(EventNumber event);

  // The time of whoever launches: the program's own thread, or the executor behind a network.
  Nanoseconds launcher_time_ns() const { return network_ ? launcher_ns_ : host_ns_; }
  // When the launcher would see that all is done that the stream, or the GPU, has been given.
  Nanoseconds stream_end_ns(StreamNumber stream) const;
  Nanoseconds gpu_end_ns() const { return std::max(gpu_ns_, launcher_time_ns()); }
  // The launcher waits until then.
  void wait_until(Nanoseconds time_ns) { launcher_ns() = std::max(launcher_ns(), time_ns); }

  // The program's time, and when all that it has called will have been done.
  double host_time_us() const { return microseconds(host_ns_); }
  double gpu_time_us() const { return microseconds(gpu_ns_); }
  // Sum of all kernels' durations, as if each had the GPU for itself.
  double busy_us() const { return microseconds(busy_ns_); }
  // Of the last launch or copy. On the GPU both times are equal where nothing ran there.
  const session::ModelledSpan& last_span() const { return span_; }

 private:
  struct Stream {
    Nanoseconds ready_ns = 0;  // all that was put into it is done
    LaunchQueue queue{};
  };
  struct Event {
    Nanoseconds done_ns = 0;  // what was in the stream before it
    Nanoseconds time_ns = 0;  // when the GPU gets there itself, to take the time
    bool with_time = false;
  };
  // Which streams had kernels so far: only those of several have to share.
  enum class Users : std::uint8_t { kNone, kOne, kSeveral };

  Stream& state(StreamNumber number) {
    if (number == 0) [[likely]]
      return default_stream_;
    return other_streams_[number];
  }

  Nanoseconds& launcher_ns() { return network_ ? launcher_ns_ : host_ns_; }
  void send(std::uint64_t size_bytes) {
    if (network_) launcher_ns_ = std::max(launcher_ns_, network_->arrival_ns(host_ns_, size_bytes));
  }

  void launch_kernels(StreamNumber number, const OperationCost& cost, std::uint32_t size_bytes);
  Nanoseconds shared_end_ns(StreamNumber number, Nanoseconds start_ns, Nanoseconds work_ns);
  void occupy(Stream& stream, Nanoseconds end_ns, std::uint32_t kernel_count);
  void read_scalar(Stream& stream);
  const LinkCost& link_cost(const LinkCopy& copy) const;
  Nanoseconds wait_for(Nanoseconds gpu_time_ns);

  ClockCosts costs_;
  std::optional<NetworkLink> network_;
  Nanoseconds host_ns_ = 0;
  Nanoseconds launcher_ns_ = 0;  // only with a network
  Nanoseconds gpu_ns_ = 0;
  Nanoseconds busy_ns_ = 0;
  session::ModelledSpan span_;

  Stream default_stream_;
  std::unordered_map<StreamNumber, Stream> other_streams_;
  Users users_ = Users::kNone;
  StreamNumber only_user_ = 0;
  SharedEngine multiprocessors_;
  SharedEngine to_device_engine_;
  SharedEngine to_host_engine_;
  std::unordered_map<EventNumber, Event> events_;
};

}  // namespace torch_remote::emulator
