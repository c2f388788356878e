// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/null_executor.h"

#include <algorithm>

#include "core/executor/in_order_executor.h"

namespace torch_remote::executor {
namespace {

class NullExecutor final : public InOrderExecutor {
 public:
  explicit NullExecutor(std::uint32_t device_count) : device_count_(device_count) {}

  std::uint32_t device_count() const override { return device_count_; }
  std::map<std::string, std::string> describe() const override {
    return {{"executor", "null"}, {"device", "null"}};
  }
  void define_operator(std::uint32_t, std::uint64_t, std::string_view, std::string_view) override {}
  void define_plan(const protocol::PlanDefinition&) override {}
  void call(std::uint32_t, std::span<const std::byte>) override {}
  std::vector<protocol::DescribedOutput> call_and_describe(std::uint32_t, TensorId,
                                                           std::span<const std::byte>) override {
    throw ExecutorError(
        protocol::ErrorKind::kNotImplemented,
        "the null executor computes nothing, so it can't describe outputs that depend on values");
  }
  void allocate(TensorId, std::uint64_t) override {}
  void free(TensorId) noexcept override {}
  void write(TensorId, std::uint64_t, std::span<const std::byte>) override {}
  void read(TensorId, std::uint64_t, std::span<std::byte> destination) override {
    std::ranges::fill(destination, std::byte{0});
  }
  void resize(TensorId, TensorId, std::uint64_t) override {}
  void rename(TensorId, TensorId) override {}
  void seed(std::uint64_t, std::uint64_t) override {}
  std::vector<std::byte> generator_state(std::uint64_t) override { return {}; }
  void set_generator_state(std::uint64_t, std::span<const std::byte>) override {}
  void synchronize() override {}

 private:
  std::uint32_t device_count_;
};

}  // namespace

ExecutorFactory null_executor_factory(std::uint32_t device_count) {
  return [device_count](const protocol::Hello&) {
    return std::make_unique<NullExecutor>(device_count);
  };
}

}  // namespace torch_remote::executor
