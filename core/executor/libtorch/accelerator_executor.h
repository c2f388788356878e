// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The executor of one session on a PyTorch accelerator: what has a memory, streams, events, an
// allocator and generators of its own. It knows them through PyTorch's interfaces alone, so it
// serves whatever implements these; backends/cuda_direct adds what only CUDA tells.
#pragma once

#include <c10/core/Event.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <cstddef>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "core/executor/libtorch/device_executor.h"

namespace torch_remote::executor::libtorch {

// Computes asynchronously: a method returns when its work is in the current stream. Stream 0 is the
// device's default one, each other number a stream of the device's pool.
class AcceleratorExecutor : public DeviceExecutor {
 public:
  // Throws c10::Error where the hello's device_index names no device.
  AcceleratorExecutor(const LibtorchOptions& options, c10::DeviceType type,
                      const protocol::Hello& hello);
  ~AcceleratorExecutor() override;

  std::map<std::string, std::string> describe() const override;
  std::uint32_t device_count() const override;
  void synchronize() override;

  void use_stream(std::uint32_t stream) override;
  void record_event(EventId event, bool with_time) override;
  void wait_event(EventId event) override;
  void free_event(EventId event) noexcept override;
  bool query_event(EventId event) override;
  void synchronize_event(EventId event) override;
  double elapsed_time_ms(EventId start, EventId end) override;
  void record_stream(TensorId id, std::uint32_t stream) override;
  void free(TensorId id) noexcept override;
  void rename(TensorId id, TensorId new_id) override;

  protocol::Numbers memory_statistics() override;
  void reset_peak_memory() override;
  void empty_cache() override;

 protected:
  // Through page-locked memory of PyTorch's own pool, which alone a device can reach by itself.
  void copy_in(const at::Tensor& destination, std::span<const std::byte> source) override;
  void copy_out(std::span<std::byte> destination, const at::Tensor& source) override;

 private:
  c10::Stream stream_of(std::uint32_t number);
  c10::Event& find(EventId event);
  // Whether the device still answers: after a failed assertion in a kernel none of its functions
  // does.
  bool works() const noexcept;

  c10::impl::VirtualGuardImpl guard_;
  c10::Stream stream_;                 // the current one
  std::size_t staged_size_bytes_ = 0;  // copied in, perhaps not yet there
  std::unordered_map<std::uint32_t, c10::Stream> streams_;
  std::unordered_map<EventId, c10::Event> events_;
  std::unordered_set<TensorId> on_other_streams_;
};

}  // namespace torch_remote::executor::libtorch
