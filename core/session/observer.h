// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What watches a session: the models of a GPU's memory and time. They see every command in program
// order, before it is sent, and compute nothing on values. A session has one observer; whoever
// needs several composes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/protocol/commands.h"
#include "core/protocol/plan.h"
#include "core/protocol/replies.h"
#include "core/session/tensor_ids.h"

namespace torch_remote::session {

using protocol::EventId;

// A storage that is about to be.
struct NewStorage {
  TensorId id = 0;
  std::uint64_t size_bytes = 0;
};

// A call as it is about to be appended. Views are valid during the observer's method alone.
struct ObservedCall {
  std::uint32_t plan = 0;             // a number of the last define_plan() that named it
  std::uint32_t stream = 0;           // 0 is the default stream
  std::uint32_t location = 0;         // of the program's line, as the session's caller numbers them
  std::span<const std::byte> values;  // ids and numbers, where protocol::call_shape() says
  std::span<const NewStorage> outputs{};  // empty where only the executor can describe them
  // Views that this thread has made since its call before: they are no calls.
  std::uint32_t views = 0;
};

// Counted by whoever makes views. Those that PyTorch makes without asking the device, transposes
// and slices, are not among them.
inline constinit thread_local std::uint32_t views_made = 0;

// A copy between the host and a storage.
struct ObservedCopy {
  TensorId id = 0;
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::uint32_t stream = 0;
  bool is_to_device = false;
  bool is_pinned = false;   // page-locked memory of the host
  bool is_blocking = true;  // the program goes on when the bytes have been copied
  std::uint32_t location = 0;
};

// When an operation or copy happened by an observer's clock, in nanoseconds since the device was
// made: the call in the program's thread, and the work on the device.
struct ModelledSpan {
  std::int64_t host_start_ns = 0;
  std::int64_t host_end_ns = 0;
  std::int64_t gpu_start_ns = 0;
  std::int64_t gpu_end_ns = 0;
};

// What an observer's clock shows. Microseconds since the device was made.
struct ModelledTime {
  double host_us = 0;      // the program's time
  double gpu_us = 0;       // when all that it has called will have been done
  double gpu_busy_us = 0;  // sum of all kernels' durations
};

// Called under the session's lock, so by one thread at a time; must not call the session. What
// isn't overridden is of no interest to the observer.
class SessionObserver {
 public:
  virtual ~SessionObserver() = default;

  // Before the first plan of the operator. Views are valid during the call.
  virtual void define_operator(std::uint32_t /*number*/, std::string_view /*name*/,
                               std::string_view /*overload*/) {}
  // Before the first call of the plan; replaces what the number stood for before.
  virtual void define_plan(const protocol::PlanDefinition& /*definition*/) {}

  // An operation. Throwing refuses it: it is then not sent, none of its outputs comes to be, and
  // the exception reaches whoever called the operation. The observer must then be as it was before.
  virtual void call(const ObservedCall& call) = 0;
  // A storage that no call fills, or that one has filled whose outputs only the executor could
  // describe. Throwing refuses it as above.
  virtual void allocate(const NewStorage& storage, std::uint32_t stream,
                        std::uint32_t location) = 0;
  // A storage was dropped.
  virtual void free(TensorId id, std::uint64_t size_bytes) noexcept = 0;
  // A storage takes another id, with its bytes, and another size; new_id was allocated before, and
  // id is freed afterwards.
  virtual void resize(TensorId /*id*/, TensorId /*new_id*/, std::uint32_t /*stream*/) {}

  // Throwing refuses the copy: a dry run has no values to read.
  virtual void copy(const ObservedCopy& /*copy*/) {}
  // The program waits for all streams, or for an event.
  virtual void synchronize() {}
  virtual void synchronize_event(EventId /*event*/) {}

  virtual void record_event(EventId /*event*/, std::uint32_t /*stream*/, bool /*with_time*/) {}
  virtual void wait_event(EventId /*event*/, std::uint32_t /*stream*/) {}
  virtual void free_event(EventId /*event*/) noexcept {}
  virtual void record_stream(TensorId /*id*/, std::uint32_t /*stream*/) {}

  // Answers in the executor's place; nothing where the executor is to be asked.
  // Whether the event has passed by the observer's own clock: if so, the session waits for the
  // executor to have passed it as well.
  virtual std::optional<bool> query_event(EventId /*event*/) { return std::nullopt; }
  virtual std::optional<double> elapsed_time_ms(EventId /*start*/, EventId /*end*/) {
    return std::nullopt;
  }
  // Of an observer with a clock. A span is that of the call or copy observed last.
  virtual std::optional<ModelledTime> modelled_time() { return std::nullopt; }
  virtual std::optional<ModelledSpan> last_span() { return std::nullopt; }
  // Under PyTorch's names (torch.cuda.memory_stats), with "free_bytes" and "total_bytes".
  virtual std::optional<protocol::Numbers> memory_statistics() { return std::nullopt; }
  virtual void reset_peak_memory() noexcept {}
  // False where it models no memory.
  virtual bool reset_accumulated_memory() noexcept { return false; }
  virtual void empty_cache() noexcept {}
};

}  // namespace torch_remote::session
