// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/device_executor.h"

#include <ATen/Parallel.h>
#include <algorithm>
#include <cstring>
#include <torch/version.h>
#include <utility>

#include "core/executor/libtorch/errors.h"
#include "core/executor/libtorch/operator_list.h"
#include "core/executor/libtorch/random_source.h"
#include "core/executor/libtorch/thread_count.h"
#include "core/protocol/bytes.h"

namespace torch_remote::executor::libtorch {

using protocol::ErrorKind;
using protocol::ProtocolError;

DeviceExecutor::DeviceExecutor(const LibtorchOptions& options, c10::Device device,
                               const protocol::Hello& hello)
    : options_(options),
      device_(device),
      generators_(device, options.random_source.get()),
      storages_(device, options.storage_size_bytes_max),
      caller_(device, storages_, generators_),
      operators_(limits().operator_count_max),
      plans_(limits().plan_count_max) {
  set_thread_count_of_this_thread(hello.thread_count != 0 ? hello.thread_count
                                                          : options.thread_count);
}

std::map<std::string, std::string> DeviceExecutor::describe() const {
  std::map<std::string, std::string> description{
      {"executor", "libtorch"},
      {"device", device_.str()},
      {"torch_version", TORCH_VERSION},
      {"thread_count", std::to_string(at::get_num_threads())}};
  if (options_.random_source) description["random_numbers"] = options_.random_source->description();
  for (const auto& [key, text] : options_.description) description[key] = text;
  return description;
}

protocol::Limits DeviceExecutor::limits() const {
  protocol::Limits limits;
  limits.storage_size_bytes_max =
      std::min(limits.storage_size_bytes_max, options_.storage_size_bytes_max);
  return limits;
}

void DeviceExecutor::define_operator(std::uint32_t number, std::uint64_t schema_hash,
                                     std::string_view name, std::string_view overload) {
  auto& entry = operators_.at(number);
  entry.reset();
  entry = translating_errors(
      [&] { return find_operator(name, overload, schema_hash, device_, options_); });
}

void DeviceExecutor::define_plan(const protocol::PlanDefinition& definition) {
  auto& plan = plans_.at(definition.plan);
  plan.reset();
  const auto& runnable = operators_.at(definition.operator_number);
  if (!runnable)
    throw ExecutorError(ErrorKind::kUnknownOperator, "the plan's operator was not defined");
  plan = translating_errors([&] {
    const PlanContext context{.device = device_,
                              .default_generator = generators_.default_generator(),
                              .storage_size_bytes_max = options_.storage_size_bytes_max};
    return std::make_unique<const DecodedPlan>(decode_plan(definition, *runnable, context));
  });
}

void DeviceExecutor::call(std::uint32_t plan, std::span<const std::byte> values) {
  translating_errors([&] { caller_.call(plan_of(plan, values, /*describes=*/false), values); });
}

std::vector<protocol::DescribedOutput> DeviceExecutor::call_and_describe(
    std::uint32_t plan, TensorId first_output_id, std::span<const std::byte> values) {
  return translating_errors([&] {
    return caller_.call_and_describe(plan_of(plan, values, /*describes=*/true), first_output_id,
                                     values);
  });
}

void DeviceExecutor::allocate(TensorId id, std::uint64_t size_bytes) {
  translating_errors([&] { storages_.allocate(id, size_bytes); });
}

void DeviceExecutor::free(TensorId id) noexcept { storages_.erase(id); }

void DeviceExecutor::write(TensorId id, std::uint64_t offset_bytes,
                           std::span<const std::byte> bytes) {
  translating_errors([&] { copy_in(storages_.bytes(id, offset_bytes, bytes.size()), bytes); });
}

void DeviceExecutor::read(TensorId id, std::uint64_t offset_bytes,
                          std::span<std::byte> destination) {
  translating_errors(
      [&] { copy_out(destination, storages_.bytes(id, offset_bytes, destination.size())); });
}

void DeviceExecutor::resize(TensorId id, TensorId new_id, std::uint64_t size_bytes) {
  translating_errors([&] {
    const std::uint64_t kept_size_bytes =
        std::min<std::uint64_t>(storages_.storage(id).nbytes(), size_bytes);
    storages_.allocate(new_id, size_bytes);
    storages_.bytes(new_id, 0, kept_size_bytes).copy_(storages_.bytes(id, 0, kept_size_bytes));
    storages_.erase(id);
  });
}

void DeviceExecutor::rename(TensorId id, TensorId new_id) { storages_.rename(id, new_id); }

void DeviceExecutor::seed(std::uint64_t generator, std::uint64_t seed) {
  translating_errors([&] { generators_.seed(generator, seed); });
}

std::vector<std::byte> DeviceExecutor::generator_state(std::uint64_t generator) {
  return translating_errors([&] { return generators_.state(generator); });
}

void DeviceExecutor::set_generator_state(std::uint64_t generator,
                                         std::span<const std::byte> state) {
  translating_errors([&] { generators_.set_state(generator, state); });
}

// Everything has been computed when a call returns.
void DeviceExecutor::synchronize() {}

protocol::Numbers DeviceExecutor::memory_statistics() {
  const auto count = static_cast<std::int64_t>(storages_.size());
  const auto size_bytes = static_cast<std::int64_t>(storages_.size_bytes());
  return {{"allocation.all.current", count},
          {"active.all.current", count},
          {"allocated_bytes.all.current", size_bytes},
          {"active_bytes.all.current", size_bytes},
          {"requested_bytes.all.current", size_bytes}};
}

void DeviceExecutor::copy_in(const at::Tensor& destination, std::span<const std::byte> source) {
  if (!source.empty()) std::memcpy(destination.mutable_data_ptr(), source.data(), source.size());
}

void DeviceExecutor::copy_out(std::span<std::byte> destination, const at::Tensor& source) {
  if (!destination.empty())
    std::memcpy(destination.data(), source.const_data_ptr(), destination.size());
}

const DecodedPlan& DeviceExecutor::plan_of(std::uint32_t number, std::span<const std::byte> values,
                                           bool describes) const {
  if (number >= plans_.size() || !plans_[number])
    throw ProtocolError("a call names a plan that was not defined");
  const DecodedPlan& plan = *plans_[number];
  if (plan.values_size_bytes != values.size() || plan.describes_outputs != describes) {
    throw ProtocolError("a call does not fit its plan");
  }
  return plan;
}

}  // namespace torch_remote::executor::libtorch
