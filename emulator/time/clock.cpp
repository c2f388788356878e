// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/clock.h"

namespace torch_remote::emulator {
namespace {

constexpr std::uint64_t kMebibyte = 1024 * 1024;

// Of what asks, records or waits, and of an answer without bytes.
constexpr std::uint64_t kShortMessageSizeBytes = 24;

// item() reads no more than one number.
constexpr std::uint64_t kScalarSizeBytesMax = 16;

Nanoseconds scaled_ns(Nanoseconds fixed_ns, Nanoseconds ns_per_mib, std::uint64_t size_bytes) {
  return fixed_ns + ns_per_mib * static_cast<Nanoseconds>(size_bytes / kMebibyte);
}

}  // namespace

Clock::Clock(const ClockCosts& costs, const NetworkOptions& network) : costs_(costs) {
  network.check();
  if (network.is_there()) network_.emplace(network);
}

// ---- operations ----

void Clock::launch_kernels(StreamNumber number, const OperationCost& cost,
                           std::uint32_t size_bytes) {
  Stream& stream = state(number);
  const auto count = static_cast<Nanoseconds>(cost.kernel_count);
  send(size_bytes);
  Nanoseconds& launcher_ns = this->launcher_ns();
  // The program's own time of a call has its launches in it.
  if (network_) launcher_ns += count * costs_.further_kernel_ns;
  launcher_ns = stream.queue.wait_for_room(cost.kernel_count, launcher_ns);

  const Nanoseconds first_launch_ns = launcher_ns - (count - 1) * costs_.further_kernel_ns;
  const Nanoseconds start_ns =
      std::max(stream.ready_ns + costs_.kernel_gap_ns, first_launch_ns + costs_.launch_latency_ns);
  // Either each kernel but the first finds its launch there, or the last one waits for it.
  Nanoseconds end_ns = std::max(start_ns + cost.gpu_ns + (count - 1) * costs_.kernel_gap_ns,
                                launcher_ns + costs_.launch_latency_ns + cost.gpu_ns / count);
  end_ns = std::max(end_ns, shared_end_ns(number, start_ns, cost.gpu_ns));
  if (cost.kernel_count > kQueuedKernelsMax) {
    const Nanoseconds left_ns = (end_ns - start_ns) / count * kQueuedKernelsMax;
    launcher_ns = std::max(launcher_ns, end_ns - left_ns);
  }
  occupy(stream, end_ns, cost.kernel_count);
  busy_ns_ += cost.gpu_ns;
  span_.host_end_ns = host_ns_;
  span_.gpu_start_ns = start_ns;
  span_.gpu_end_ns = end_ns;
}

// The end of kernels that may begin at start_ns, as far as other streams' kernels decide about it.
Nanoseconds Clock::shared_end_ns(StreamNumber number, Nanoseconds start_ns, Nanoseconds work_ns) {
  if (users_ != Users::kSeveral) [[likely]] {
    if (users_ == Users::kNone) {
      users_ = Users::kOne;
      only_user_ = number;
    }
    if (only_user_ == number) return 0;
    users_ = Users::kSeveral;
    // What the other one has still to do counts as one piece, gaps included.
    const Nanoseconds ready_ns = state(only_user_).ready_ns;
    if (ready_ns > launcher_ns())
      multiprocessors_.reserve(launcher_ns(), ready_ns - launcher_ns(), launcher_ns());
  }
  return multiprocessors_.reserve(start_ns, work_ns, launcher_ns());
}

void Clock::occupy(Stream& stream, Nanoseconds end_ns, std::uint32_t kernel_count) {
  stream.ready_ns = end_ns;
  stream.queue.push(kernel_count, end_ns);
  gpu_ns_ = std::max(gpu_ns_, end_ns);
}

// ---- copies and memory ----

const LinkCost& Clock::link_cost(const LinkCopy& copy) const {
  if (copy.is_to_device)
    return copy.is_pinned ? costs_.to_device_pinned : costs_.to_device_pageable;
  return copy.is_pinned ? costs_.to_host_pinned : costs_.to_host_pageable;
}

void Clock::copy(StreamNumber number, const LinkCopy& copy) {
  span_.host_start_ns = host_ns_;
  Stream& stream = state(number);
  const bool is_scalar =
      !copy.is_to_device && copy.is_blocking && copy.size_bytes <= kScalarSizeBytesMax;
  if (is_scalar && !network_) return read_scalar(stream);

  host_ns_ += costs_.copy_call_ns;
  send(kShortMessageSizeBytes + (copy.is_to_device ? copy.size_bytes : 0));
  Nanoseconds& launcher_ns = this->launcher_ns();
  launcher_ns = stream.queue.wait_for_room(1, launcher_ns);
  const Nanoseconds start_ns = std::max(stream.ready_ns, launcher_ns + costs_.launch_latency_ns);
  SharedEngine& engine = copy.is_to_device ? to_device_engine_ : to_host_engine_;
  const Nanoseconds end_ns =
      engine.reserve(start_ns, link_cost(copy).duration_ns(copy.size_bytes), launcher_ns);
  occupy(stream, end_ns, 1);

  // Whoever copies from or to memory that isn't pinned stands by; the network's other end as well.
  if (copy.is_blocking || !copy.is_pinned) launcher_ns = std::max(launcher_ns, end_ns);
  if (network_ && !copy.is_to_device) {
    const Nanoseconds there_ns =
        network_->return_ns(end_ns, kShortMessageSizeBytes + copy.size_bytes);
    if (copy.is_blocking) host_ns_ = std::max(host_ns_, there_ns);
  }
  span_.host_end_ns = host_ns_;
  span_.gpu_start_ns = start_ns;
  span_.gpu_end_ns = end_ns;
}

void Clock::read_scalar(Stream& stream) {
  span_.gpu_start_ns = std::max(stream.ready_ns, host_ns_);
  host_ns_ = span_.gpu_start_ns + costs_.read_scalar_ns;
  span_.gpu_end_ns = span_.host_end_ns = host_ns_;
  stream.ready_ns = host_ns_;
  gpu_ns_ = std::max(gpu_ns_, host_ns_);
}

void Clock::device_malloc(std::uint32_t count, std::uint64_t size_bytes) {
  launcher_ns() +=
      scaled_ns(count * costs_.device_malloc_ns, costs_.device_malloc_ns_per_mib, size_bytes);
}

void Clock::device_free(std::uint32_t count, std::uint64_t size_bytes) {
  launcher_ns() =
      std::max(launcher_ns(), gpu_ns_) +
      scaled_ns(count * costs_.device_free_ns, costs_.device_free_ns_per_mib, size_bytes);
}

// ---- events and waits ----

Nanoseconds Clock::stream_end_ns(StreamNumber number) const {
  if (number == 0) return std::max(default_stream_.ready_ns, launcher_time_ns());
  const auto found = other_streams_.find(number);
  const Nanoseconds ready_ns = found == other_streams_.end() ? 0 : found->second.ready_ns;
  return std::max(ready_ns, launcher_time_ns());
}

void Clock::record_event(EventNumber event, StreamNumber number, bool with_time) {
  host_ns_ += costs_.record_event_ns;
  send(kShortMessageSizeBytes);
  const Nanoseconds ready_ns = state(number).ready_ns;
  const Event recorded{
      .done_ns = std::max(ready_ns, launcher_ns()),
      .time_ns = std::max(ready_ns, launcher_ns() + costs_.launch_latency_ns),
      .with_time = with_time,
  };
  gpu_ns_ = std::max(gpu_ns_, recorded.done_ns);
  events_[event] = recorded;
}

void Clock::wait_event(EventNumber event, StreamNumber number) {
  host_ns_ += costs_.wait_event_ns;
  send(kShortMessageSizeBytes);
  const auto found = events_.find(event);
  if (found == events_.end()) return;
  Stream& stream = state(number);
  stream.ready_ns = std::max(stream.ready_ns, found->second.done_ns);
}

std::optional<bool> Clock::query_event(EventNumber event) {
  const auto found = events_.find(event);
  if (found == events_.end()) return std::nullopt;
  host_ns_ += costs_.query_event_ns;
  if (!network_) return found->second.done_ns <= host_ns_;
  send(kShortMessageSizeBytes);
  host_ns_ = network_->return_ns(launcher_ns_, kShortMessageSizeBytes);
  return found->second.done_ns <= launcher_ns_;
}

std::optional<double> Clock::elapsed_time_ms(EventNumber start, EventNumber end) const {
  const auto from = events_.find(start);
  const auto to = events_.find(end);
  if (from == events_.end() || to == events_.end()) return std::nullopt;
  if (!from->second.with_time || !to->second.with_time) return std::nullopt;
  return static_cast<double>(to->second.time_ns - from->second.time_ns) /
         static_cast<double>(kNanosecondsPerMillisecond);
}

// The program's time when it has been told that the GPU's has come.
Nanoseconds Clock::wait_for(Nanoseconds gpu_time_ns) {
  if (!network_) return std::max(host_ns_, gpu_time_ns);
  send(kShortMessageSizeBytes);
  launcher_ns_ = std::max(launcher_ns_, gpu_time_ns);
  return network_->return_ns(launcher_ns_, kShortMessageSizeBytes);
}

void Clock::synchronize() { host_ns_ = wait_for(gpu_ns_) + costs_.synchronize_ns; }

void Clock::synchronize_event(EventNumber event) {
  const auto found = events_.find(event);
  const Nanoseconds done_ns = found == events_.end() ? 0 : found->second.done_ns;
  host_ns_ = wait_for(done_ns) + costs_.event_synchronize_ns;
}

}  // namespace torch_remote::emulator
