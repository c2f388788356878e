// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The executor of one session on one PyTorch device. An executor for a device with a memory of its
// own derives from it and replaces what is virtual here.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/InferenceMode.h>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/executor/in_order_executor.h"
#include "core/executor/libtorch/call.h"
#include "core/executor/libtorch/decoded_plan.h"
#include "core/executor/libtorch/generators.h"
#include "core/executor/libtorch/libtorch_executor.h"
#include "core/executor/libtorch/storage_table.h"

namespace torch_remote::executor::libtorch {

class DeviceExecutor : public InOrderExecutor {
 public:
  DeviceExecutor(const LibtorchOptions& options, c10::Device device, const protocol::Hello& hello);

  std::map<std::string, std::string> describe() const override;
  protocol::Limits limits() const override;
  std::uint32_t device_count() const override { return options_.device_count; }
  void define_operator(std::uint32_t number, std::uint64_t schema_hash, std::string_view name,
                       std::string_view overload) override;
  void define_plan(const protocol::PlanDefinition& definition) override;
  void call(std::uint32_t plan, std::span<const std::byte> values) override;
  std::vector<protocol::DescribedOutput> call_and_describe(
      std::uint32_t plan, TensorId first_output_id, std::span<const std::byte> values) override;
  void allocate(TensorId id, std::uint64_t size_bytes) override;
  void free(TensorId id) noexcept override;
  void write(TensorId id, std::uint64_t offset_bytes, std::span<const std::byte> bytes) override;
  void read(TensorId id, std::uint64_t offset_bytes, std::span<std::byte> destination) override;
  void resize(TensorId id, TensorId new_id, std::uint64_t size_bytes) override;
  void rename(TensorId id, TensorId new_id) override;
  void seed(std::uint64_t generator, std::uint64_t seed) override;
  std::vector<std::byte> generator_state(std::uint64_t generator) override;
  void set_generator_state(std::uint64_t generator, std::span<const std::byte> state) override;
  void synchronize() override;
  // What the session's storages are, where no allocator counts.
  protocol::Numbers memory_statistics() override;

 protected:
  c10::Device device() const { return device_; }
  StorageTable& storages() { return storages_; }

  // Between host memory and the device's; ordered with the calls. The tensor is bytes of a storage.
  virtual void copy_in(const at::Tensor& destination, std::span<const std::byte> source);
  virtual void copy_out(std::span<std::byte> destination, const at::Tensor& source);

 private:
  const DecodedPlan& plan_of(std::uint32_t number, std::span<const std::byte> values,
                             bool describes) const;

  LibtorchOptions options_;
  c10::Device device_;
  // Nothing here needs gradients or version counters. Holds for the thread, which is the session's.
  c10::InferenceMode inference_mode_;
  Generators generators_;
  StorageTable storages_;
  Caller caller_;
  std::vector<std::optional<RunnableOperator>> operators_;
  std::vector<std::unique_ptr<const DecodedPlan>> plans_;
};

}  // namespace torch_remote::executor::libtorch
