// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/accelerator_executor.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <algorithm>
#include <c10/util/Exception.h>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>

#include "core/executor/libtorch/allocator_statistics.h"
#include "core/executor/libtorch/errors.h"

namespace torch_remote::executor::libtorch {
namespace {

// Larger copies are cut; the device is waited for when so much is on its way to it. Both bound
// what is page-locked.
constexpr std::size_t kStagingSizeBytesMax = 8u << 20;
constexpr std::size_t kStagedSizeBytesMax = 64u << 20;

c10::Device device_of(c10::DeviceType type, const protocol::Hello& hello) {
  const auto count = c10::impl::VirtualGuardImpl(type).deviceCount();
  // Refused by the worker, too, in words for the user.
  const auto index = std::min<std::uint32_t>(hello.device_index, count > 0 ? count - 1u : 0u);
  return {type, static_cast<c10::DeviceIndex>(index)};
}

at::Tensor page_locked(std::size_t size_bytes) {
  return at::empty({static_cast<std::int64_t>(size_bytes)},
                   at::TensorOptions(at::kByte).pinned_memory(true));
}

// Calls copy(offset, size, the part of the device's bytes, page-locked memory of that size). When a
// device has failed, page-locked memory can't go back to its pool: its destructor would ask the
// device for an event, and end the process.
template <typename Copy>
void for_each_part(const at::Tensor& bytes, Copy copy) {
  const std::size_t size_bytes = bytes.nbytes();
  for (std::size_t done = 0; done < size_bytes; done += kStagingSizeBytesMax) {
    const std::size_t part_size_bytes = std::min(kStagingSizeBytesMax, size_bytes - done);
    const at::Tensor part = bytes.narrow(0, static_cast<std::int64_t>(done),
                                         static_cast<std::int64_t>(part_size_bytes));
    at::Tensor staging = page_locked(part_size_bytes);
    try {
      copy(done, part_size_bytes, part, staging);
    } catch (const c10::AcceleratorError&) {
      staging.unsafeReleaseTensorImpl();
      throw;
    }
  }
}

}  // namespace

AcceleratorExecutor::AcceleratorExecutor(const LibtorchOptions& options, c10::DeviceType type,
                                         const protocol::Hello& hello)
    : DeviceExecutor(options, device_of(type, hello), hello),
      guard_(type),
      stream_(guard_.getDefaultStream(device())) {
  guard_.setDevice(device());  // of this thread, which is the session's
  guard_.exchangeStream(stream_);
}

AcceleratorExecutor::~AcceleratorExecutor() {
  try {
    // The storages go back to an allocator that all sessions share: nothing may write them any
    // more.
    guard_.synchronizeDevice(device().index());
    guard_.exchangeStream(guard_.getDefaultStream(device()));
  } catch (const std::exception&) {
    // A device that has failed; this thread makes nothing more on it.
    storages().abandon_all();
  }
}

std::map<std::string, std::string> AcceleratorExecutor::describe() const {
  auto description = DeviceExecutor::describe();
  description["allocator"] = "caching";
  return description;
}

std::uint32_t AcceleratorExecutor::device_count() const {
  return static_cast<std::uint32_t>(guard_.deviceCount());
}

void AcceleratorExecutor::synchronize() {
  translating_errors([&] { guard_.synchronizeDevice(device().index()); });
  staged_size_bytes_ = 0;
}

// ---- streams and events ----

c10::Stream AcceleratorExecutor::stream_of(std::uint32_t number) {
  if (number == 0) return guard_.getDefaultStream(device());
  const auto found = streams_.find(number);
  if (found != streams_.end()) return found->second;
  const int priority = number > protocol::kStreamsPerPriority ? -1 : 0;
  return streams_.emplace(number, guard_.getNewStream(device(), priority)).first->second;
}

void AcceleratorExecutor::use_stream(std::uint32_t stream) {
  translating_errors([&] {
    stream_ = stream_of(stream);
    guard_.exchangeStream(stream_);
  });
}

void AcceleratorExecutor::record_event(EventId event, bool with_time) {
  translating_errors([&] {
    if (events_.size() >= kEventCountMax && !events_.contains(event)) throw_too_many_events();
    const auto flag = with_time ? c10::EventFlag::BACKEND_DEFAULT : c10::EventFlag::PYTORCH_DEFAULT;
    const auto entry = events_.try_emplace(event, device().type(), flag).first;
    if (entry->second.flag() != flag) entry->second = c10::Event(device().type(), flag);
    entry->second.record(stream_);
  });
}

void AcceleratorExecutor::wait_event(EventId event) {
  translating_errors([&] { find(event).block(stream_); });
}

void AcceleratorExecutor::free_event(EventId event) noexcept { events_.erase(event); }

bool AcceleratorExecutor::query_event(EventId event) {
  return translating_errors([&] { return find(event).query(); });
}

void AcceleratorExecutor::synchronize_event(EventId event) {
  translating_errors([&] { find(event).synchronize(); });
}

double AcceleratorExecutor::elapsed_time_ms(EventId start, EventId end) {
  return translating_errors([&] {
    const c10::Event& from = find(start);
    const c10::Event& to = find(end);
    for (const c10::Event* one : {&from, &to}) {
      if (one->flag() != c10::EventFlag::BACKEND_DEFAULT) throw_event_without_time();
    }
    return from.elapsedTime(to);
  });
}

void AcceleratorExecutor::record_stream(TensorId id, std::uint32_t stream) {
  translating_errors(
      [&] { guard_.recordDataPtrOnStream(storages().storage(id).data_ptr(), stream_of(stream)); });
  on_other_streams_.insert(id);
}

// The allocator records an event for memory that other streams use, which a failed device refuses.
void AcceleratorExecutor::free(TensorId id) noexcept {
  if (on_other_streams_.erase(id) > 0 && !works()) return storages().abandon(id);
  DeviceExecutor::free(id);
}

void AcceleratorExecutor::rename(TensorId id, TensorId new_id) {
  DeviceExecutor::rename(id, new_id);
  if (on_other_streams_.erase(id) > 0) on_other_streams_.insert(new_id);
}

bool AcceleratorExecutor::works() const noexcept {
  try {
    guard_.queryStream(stream_);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

c10::Event& AcceleratorExecutor::find(EventId event) {
  const auto found = events_.find(event);
  if (found == events_.end()) throw_unknown_event(event);
  return found->second;
}

// ---- memory ----

protocol::Numbers AcceleratorExecutor::memory_statistics() {
  return translating_errors([&] { return allocator_statistics(device()); });
}

void AcceleratorExecutor::reset_peak_memory() {
  translating_errors([&] { device_allocator(device()).resetPeakStats(device().index()); });
}

void AcceleratorExecutor::empty_cache() {
  translating_errors([&] { device_allocator(device()).emptyCache(); });
}

// ---- copies ----

// The page-locked memory goes back to its pool when the copy has been done: PyTorch's copy_ notes
// the stream.
void AcceleratorExecutor::copy_in(const at::Tensor& destination,
                                  std::span<const std::byte> source) {
  for_each_part(destination, [&](std::size_t offset, std::size_t size_bytes, const at::Tensor& part,
                                 const at::Tensor& staging) {
    std::memcpy(staging.mutable_data_ptr(), source.data() + offset, size_bytes);
    part.copy_(staging, /*non_blocking=*/true);
    staged_size_bytes_ += size_bytes;
    if (staged_size_bytes_ > kStagedSizeBytesMax) synchronize();
  });
}

void AcceleratorExecutor::copy_out(std::span<std::byte> destination, const at::Tensor& source) {
  for_each_part(source, [&](std::size_t offset, std::size_t size_bytes, const at::Tensor& part,
                            const at::Tensor& staging) {
    staging.copy_(part, /*non_blocking=*/true);
    guard_.synchronizeStream(stream_);
    std::memcpy(destination.data() + offset, staging.const_data_ptr(), size_bytes);
  });
}

}  // namespace torch_remote::executor::libtorch
