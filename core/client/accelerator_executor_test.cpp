// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The executor for accelerators, on the one accelerator that is everywhere: this client's own
// device, behind which the CPU computes. What it asks of a device, it asks of this one as of CUDA.
#include "core/executor/libtorch/accelerator_executor.h"

#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <c10/core/DeviceType.h>
#include <cstddef>
#include <cstdint>
#include <gtest/gtest.h>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "core/client/device.h"
#include "core/client/hooks.h"
#include "core/client/memory_statistics.h"
#include "core/client/streams.h"
#include "core/executor/in_process.h"
#include "core/executor/libtorch/executor_for_test.h"
#include "core/transport/channel.h"

namespace torch_remote::executor {
namespace {

// Device 0 of this process, made once.
void make_device() {
  static const bool made = [] {
    c10::register_privateuse1_backend("remote");
    client::register_hooks();
    auto inner = std::make_shared<InProcessExecutor>(libtorch_executor_factory());
    auto session = std::make_unique<session::Session>(
        transport::connect_channel(inner->context(), InProcessExecutor::endpoint(), 1),
        "this process", 1, session::SessionOptions());
    client::register_device(
        std::make_unique<client::Device>(0, std::move(session), std::move(inner)));
    return true;
  }();
  ASSERT_TRUE(made);
}

class AcceleratorExecutorTest : public LibtorchExecutorTest {
 protected:
  AcceleratorExecutorTest() : LibtorchExecutorTest(make()) {}

  static std::unique_ptr<Executor> make() {
    make_device();
    return std::make_unique<libtorch::AcceleratorExecutor>(
        LibtorchOptions(), c10::DeviceType::PrivateUse1, protocol::Hello{});
  }
  at::Tensor loaded(std::uint64_t tensor_id, at::IntArrayRef sizes) {
    at::Tensor tensor = at::empty(sizes);
    executor->read(tensor_id, 0,
                   {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()});
    return tensor;
  }
};

TEST_F(AcceleratorExecutorTest, ComputesOnItsDevice) {
  EXPECT_EQ(executor->describe()["device"], "remote:0");
  EXPECT_EQ(executor->describe()["allocator"], "caching");
  TensorLayout transposed = layout({2, 2});
  transposed.strides = {1, 2};
  define("aten::add", "Tensor", {tensor(transposed, 4), tensor(layout({2, 2})), integer(10)},
         {fresh(layout({2, 2}))});
  store(id(1), Floats{0, 1, 2, 3, 4});
  store(id(2), Floats{1, 1, 2, 2});
  executor->call(0, Values(id(1), std::uint32_t{1}, id(2), id(3)));
  EXPECT_EQ(floats(id(3), 4), (Floats{11, 13, 22, 24}));
  executor->free(id(3));
  EXPECT_FALSE(exists(id(3)));
}

TEST_F(AcceleratorExecutorTest, CopiesInParts) {
  std::vector<float> values((20u << 20) / sizeof(float) + 1);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 9973);
  store(id(1), values);
  EXPECT_EQ(load<float>(id(1), values.size()), values);
  executor->resize(id(1), id(2), 8);
  EXPECT_EQ(floats(id(2), 2), (Floats{0, 1}));
  expect_failure(ErrorKind::kIndex, "are not within", [&] { floats(id(2), 3); });
  executor->write(id(2), 0, {});
}

TEST_F(AcceleratorExecutorTest, DescribesWhatOnlyTheValuesTell) {
  store(id(1), Floats{0, 5, 0, 7});
  const auto outputs = describe("aten::nonzero", "", {tensor(layout({4}))}, id(2), Values(id(1)));
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].layout.sizes, (Integers{2, 1}));
  EXPECT_EQ(load<std::int64_t>(id(2), 2), (Integers{1, 3}));
}

TEST_F(AcceleratorExecutorTest, ConvolvesThroughTheDevicesOwnOperator) {
  const at::Tensor input = at::randn({2, 3, 8, 8}), weight = at::randn({4, 3, 3, 3});
  store(id(1), input), store(id(2), weight);
  define("aten::convolution_overrideable", "",
         {tensor(layout({2, 3, 8, 8})), tensor(layout({4, 3, 3, 3})), none(), integers({1, 1}),
          integers({1, 1}), integers({1, 1}), boolean(false), integers({0, 0}), integer(1)},
         {fresh(layout({2, 4, 8, 8}))});
  executor->call(0, Values(id(1), id(2), id(3)));
  EXPECT_TRUE(
      holds(id(3), at::convolution(input, weight, {}, {1, 1}, {1, 1}, {1, 1}, false, {0, 0}, 1)));
}

// As many heads of the keys as of the queries, or one that all of them share.
class AttentionTest : public AcceleratorExecutorTest,
                      public testing::WithParamInterface<std::int64_t> {};

INSTANTIATE_TEST_SUITE_P(KeyHeads, AttentionTest, testing::Values(2, 1));

TEST_P(AttentionTest, AttendsAsTheFusedKernelDoes) {
  const std::vector<std::int64_t> sizes{1, 2, 5, 8}, shared_sizes{1, GetParam(), 5, 8};
  const at::Tensor query = at::randn(sizes), key = at::randn(shared_sizes),
                   value = at::randn(shared_sizes), gradient = at::randn(sizes);
  store(id(1), query), store(id(2), key), store(id(3), value), store(id(4), gradient);
  const TensorLayout q = layout(sizes), k = layout(shared_sizes), sums = layout({1, 2, 5});
  define(
      "aten::_scaled_dot_product_fused_attention_overrideable", "",
      {tensor(q), tensor(k), tensor(k), none(), number(0), boolean(true), boolean(false), none()},
      {fresh(q), fresh(sums), nothing(), nothing(), nothing(), nothing(), nothing(), nothing(),
       nothing()});
  executor->call(0, Values(id(1), id(2), id(3), id(5), id(6)));
  const auto [output, logsumexp] =
      at::_scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, true);
  EXPECT_TRUE(loaded(id(5), sizes).allclose(output, 1e-4, 1e-5));
  EXPECT_TRUE(loaded(id(6), {1, 2, 5}).allclose(logsumexp, 1e-4, 1e-5));

  Argument mask = of_kind(ArgumentKind::kBooleanList);
  mask.integers = {1, 1, 1, 0};
  define("aten::_scaled_dot_product_fused_attention_overrideable_backward", "",
         {tensor(q), tensor(q), tensor(k), tensor(k), undefined(), mask, tensor(q), tensor(sums),
          undefined(), undefined(), integer(5), integer(5), number(0), boolean(true), undefined(),
          undefined(), none()},
         {fresh(q), fresh(k), fresh(k), nothing()});
  executor->call(0, Values(id(4), id(1), id(2), id(3), id(5), id(6), id(7), id(8), id(9)));
  const auto expected = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      gradient, query, key, value, output, logsumexp, 0.0, true);
  EXPECT_TRUE(loaded(id(7), sizes).allclose(std::get<0>(expected), 1e-4, 1e-5));
  EXPECT_TRUE(loaded(id(8), shared_sizes).allclose(std::get<1>(expected), 1e-4, 1e-5));
  EXPECT_TRUE(loaded(id(9), shared_sizes).allclose(std::get<2>(expected), 1e-4, 1e-5));
}

TEST_F(AcceleratorExecutorTest, RefusesHeadsThatDoNotFit) {
  const TensorLayout q = layout({1, 3, 5, 8}), k = layout({1, 2, 5, 8});
  store(id(1), at::randn({1, 3, 5, 8})), store(id(2), at::randn({1, 2, 5, 8}));
  define(
      "aten::_scaled_dot_product_fused_attention_overrideable", "",
      {tensor(q), tensor(k), tensor(k), none(), number(0), boolean(true), boolean(false), none()},
      {fresh(q), fresh(layout({1, 3, 5})), nothing(), nothing(), nothing(), nothing(), nothing(),
       nothing(), nothing()});
  EXPECT_THROW(executor->call(0, Values(id(1), id(2), id(2), id(5), id(6))), std::exception);
}

// A kernel of the device that takes no generator draws from the session's all the same: twice the
// same numbers for a seed, and others afterwards.
TEST_F(AcceleratorExecutorTest, LendsItsGeneratorToTheDevice) {
  const TensorLayout many = layout({64});
  const TensorLayout kept = layout({64}, /*dtype=*/11);  // bool
  define("aten::native_dropout", "", {tensor(many), number(0.5), boolean(true)},
         {fresh(many), fresh(kept)});
  store(id(1), Floats(64, 1.0f));
  const auto mask = [&](std::uint64_t output) {
    executor->call(0, Values(id(1), id(output), id(output + 1)));
    return load<std::uint8_t>(id(output + 1), 64);
  };
  executor->seed(0, 7);
  const auto first = mask(2), second = mask(4);
  EXPECT_NE(first, second);
  executor->seed(0, 7);
  EXPECT_EQ(mask(6), first);
  const auto state = executor->generator_state(0);
  EXPECT_EQ(mask(8), second);
  executor->set_generator_state(0, state);
  EXPECT_EQ(mask(10), second);
}

// What the device is told: its streams are the current ones of this thread, and each command for
// an event or a storage is one of its own.
TEST_F(AcceleratorExecutorTest, MapsStreamsAndEventsOneToOne) {
  session::Session& device = client::device_at(0).session();
  const auto bytes_of = [&](auto action) {
    const std::uint64_t before = device.statistics().bytes_sent;
    action();
    return device.statistics().bytes_sent - before;
  };
  constexpr std::uint64_t kEventCommand = 16, kStreamCommand = 8;
  executor->use_stream(3);
  const std::uint32_t third = client::current_stream(0);
  executor->use_stream(4);
  const std::uint32_t fourth = client::current_stream(0);
  executor->use_stream(protocol::kStreamMax);
  EXPECT_GT(client::current_stream(0), protocol::kStreamsPerPriority) << "of high priority";
  executor->use_stream(3);
  EXPECT_EQ(client::current_stream(0), third);
  EXPECT_NE(third, fourth);
  EXPECT_NE(third, 0u);
  EXPECT_EQ(bytes_of([&] { executor->record_event(1, false); }), kStreamCommand + kEventCommand);
  executor->use_stream(0);
  EXPECT_EQ(client::current_stream(0), 0u);
  EXPECT_EQ(bytes_of([&] { executor->wait_event(1); }), kStreamCommand + kEventCommand);
  store(id(1), Floats{1, 2});
  EXPECT_EQ(bytes_of([&] { executor->record_stream(id(1), 3); }), kEventCommand);
  EXPECT_EQ(bytes_of([&] { executor->free_event(1); }), kEventCommand);
}

TEST_F(AcceleratorExecutorTest, HasStreamsAndEvents) {
  define("aten::add_", "Tensor", {written(layout({2})), tensor(layout({2})), integer(1)},
         {argument()});
  store(id(1), Floats{1, 2});
  store(id(2), Floats{1, 1});
  executor->record_event(1, /*with_time=*/true);
  executor->use_stream(3);
  executor->wait_event(1);
  executor->call(0, Values(id(1), id(2)));
  executor->record_stream(id(1), 3);
  executor->record_event(2, /*with_time=*/true);
  executor->use_stream(protocol::kStreamMax);
  executor->wait_event(2);
  executor->call(0, Values(id(1), id(2)));
  executor->use_stream(0);
  executor->synchronize_event(2);
  EXPECT_TRUE(executor->query_event(2));
  EXPECT_GE(executor->elapsed_time_ms(1, 2), 0.0);
  EXPECT_EQ(executor->elapsed_time_ms(2, 1), -executor->elapsed_time_ms(1, 2));
  executor->synchronize();
  EXPECT_EQ(floats(id(1), 2), (Floats{3, 4}));
  executor->record_event(3, /*with_time=*/false);
  expect_failure(ErrorKind::kValue, "enable_timing=True", [&] { executor->elapsed_time_ms(1, 3); });
  executor->free_event(1);
  executor->free_event(1);
  expect_failure(ErrorKind::kValue, "there is no event 1", [&] { executor->query_event(1); });
}

TEST_F(AcceleratorExecutorTest, TellsItsAllocatorsCounters) {
  const auto before = executor->memory_statistics();
  executor->allocate(id(1), 4096);
  auto now = executor->memory_statistics();
  EXPECT_EQ(now["allocated_bytes.all.current"] - before.at("allocated_bytes.all.current"), 4096);
  executor->free(id(1));
  now = executor->memory_statistics();
  EXPECT_EQ(now["allocated_bytes.all.current"], before.at("allocated_bytes.all.current"));
  EXPECT_GE(now["allocated_bytes.all.peak"], now["allocated_bytes.all.current"] + 4096);
  executor->reset_peak_memory();
  now = executor->memory_statistics();
  EXPECT_EQ(now["allocated_bytes.all.peak"], now["allocated_bytes.all.current"]);
  executor->empty_cache();
}

// A client's device whose executor computes on the device above, which has an allocator.
TEST_F(AcceleratorExecutorTest, IsAskedForItsCountersByTheClient) {
  auto inner = std::make_shared<InProcessExecutor>([](const protocol::Hello& hello) {
    return std::make_unique<libtorch::AcceleratorExecutor>(LibtorchOptions(),
                                                           c10::DeviceType::PrivateUse1, hello);
  });
  auto session = std::make_unique<session::Session>(
      transport::connect_channel(inner->context(), InProcessExecutor::endpoint(), 2),
      "this process", 2, session::SessionOptions());
  client::Device device(1, std::move(session), std::move(inner));
  const auto before = client::device_statistics(device);
  const session::TensorId id = device.session().turn().allocate(1 << 20);
  auto now = client::device_statistics(device);
  EXPECT_EQ(now.allocated_bytes[0].current, before.allocated_bytes[0].current + (1 << 20));
  EXPECT_EQ(now.allocation[0].allocated, before.allocation[0].allocated + 1);
  client::reset_accumulated_statistics(device);
  device.session().free(id, 1 << 20);
  now = client::device_statistics(device);
  EXPECT_EQ(now.allocated_bytes[0].current, before.allocated_bytes[0].current);
  EXPECT_EQ(now.allocated_bytes[0].allocated, 0);
  EXPECT_EQ(now.allocated_bytes[0].freed, 1 << 20);
  EXPECT_EQ(client::memory_info(device).second, 0u) << "nobody knows how much there is";
  device.stop();
}

}  // namespace
}  // namespace torch_remote::executor
