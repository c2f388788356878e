// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What PyTorch asks a device about itself: guard, streams, events, generators, storages.
#include "core/client/hooks.h"

#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Exception.h>
#include <cstddef>
#include <cstdint>

#include "core/client/device.h"
#include "core/client/errors.h"
#include "core/client/generator.h"
#include "core/client/pinned_memory.h"
#include "core/client/storage.h"
#include "core/client/streams.h"

namespace torch_remote::client {
namespace {

constexpr c10::DeviceType kRemote = c10::DeviceType::PrivateUse1;

c10::Device remote(int index) { return {kRemote, static_cast<c10::DeviceIndex>(index)}; }

void synchronize(int index) {
  if (device_count() == 0) return;  // PyTorch asks before there is any
  with_torch_errors(index, [&] { device_at(index).session().synchronize(); });
}

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return kRemote; }
  c10::Device exchangeDevice(c10::Device device) const override {
    return remote(exchange_device_index(device.index()));
  }
  c10::Device getDevice() const override { return remote(current_device_index()); }
  // Not of the devices that there are alone: autograd's threads name all that there may be.
  void setDevice(c10::Device device) const override {
    TORCH_CHECK_INDEX(device.index() >= 0 && device.index() < kDeviceCountMax,
                      "there is no device ", device, "; there are at most ", kDeviceCountMax);
    exchange_device_index(device.index());
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    exchange_device_index(device.index());
  }

#if __has_include(<c10/core/DeviceCapability.h>)
  // Whether an operator takes a dtype, its executor says. No override: older versions don't ask.
  c10::DeviceCapability getDeviceCapability(c10::Device /*device*/) const { return {}; }
#endif

  c10::Stream getStream(c10::Device device) const override { return current_stream_of(device); }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream getNewStream(c10::Device device, int priority) const override {
    return next_stream(device, /*is_high_priority=*/priority < 0);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool is_high_priority) const override {
    return next_stream(device, is_high_priority);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override { return exchange_stream(stream); }
  bool queryStream(const c10::Stream& stream) const override { return query_stream(stream); }
  void synchronizeStream(const c10::Stream& stream) const override { synchronize_stream(stream); }

  // Autograd makes a queue for each device once, at the first backward, so it is told of all that
  // there may ever be. Python's torch.remote.device_count() says how many there are.
  c10::DeviceIndex deviceCount() const noexcept override { return kDeviceCountMax; }

  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex,
              const c10::EventFlag flag) const override {
    // As CUDA's: an event of PyTorch's own kind has no time.
    *event = record_event(*event, stream, flag == c10::EventFlag::BACKEND_DEFAULT).kept();
  }
  void block(void* event, const c10::Stream& stream) const override {
    if (event != nullptr) wait_event(Event(event), stream);
  }
  bool queryEvent(void* event) const override {
    return event == nullptr || query_event(Event(event));
  }
  void synchronizeEvent(void* event) const override {
    if (event != nullptr) synchronize_event(Event(event));
  }
  double elapsedTime(void* start, void* end, const c10::DeviceIndex) const override {
    TORCH_CHECK(start != nullptr && end != nullptr, "both events have to be recorded first");
    return elapsed_time_ms(Event(start), Event(end));
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    if (event != nullptr) free_event(Event(event));
  }

  void synchronizeDevice(c10::DeviceIndex index) const override { synchronize(index); }
  void recordDataPtrOnStream(const c10::DataPtr& pointer,
                             const c10::Stream& stream) const override {
    if (pointer.get() != nullptr)
      record_storage(reinterpret_cast<std::uintptr_t>(pointer.get()), pointer.device(), stream);
  }
};

class Hooks final : public at::PrivateUse1HooksInterface {
 public:
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return device_count() > 0; }
  bool hasPrimaryContext(c10::DeviceIndex index) const override { return index < device_count(); }
  void init() const override {}

  c10::DeviceIndex deviceCount() const override {
    return static_cast<c10::DeviceIndex>(device_count());
  }
  void setCurrentDevice(c10::DeviceIndex index) const override {
    if (!is_pending(index)) device_at(index);  // raises where there is none
    exchange_device_index(index);
  }
  c10::DeviceIndex getCurrentDevice() const override {
    return static_cast<c10::DeviceIndex>(current_device_index());
  }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex index) const override {
    return static_cast<c10::DeviceIndex>(exchange_device_index(index));
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex index) const override {
    return index < 0 ? getCurrentDevice() : exchangeDevice(index);
  }

  at::Device getDeviceFromPtr(void* data) const override {
    const auto id = reinterpret_cast<std::uintptr_t>(data);
    TORCH_CHECK(session::TensorIds::is_tensor_id(id), "the pointer belongs to no remote tensor");
    return remote(static_cast<int>(session::TensorIds::device_of(id)));
  }

  const at::Generator& getDefaultGenerator(c10::DeviceIndex index) const override {
    return default_generator(index < 0 ? current_device_index() : index);
  }
  at::Generator getNewGenerator(c10::DeviceIndex index) const override {
    return make_remote_generator(index < 0 ? current_device_index() : index);
  }

  at::Allocator* getPinnedMemoryAllocator() const override { return pinned_allocator(); }
  bool isPinnedPtr(const void* address) const override { return is_pinned(address); }

  void resizePrivateUse1Bytes(const c10::Storage& storage, std::size_t size_bytes) const override {
    resize_storage(*storage.unsafeGetStorageImpl(), size_bytes);
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

}  // namespace

void register_hooks() {
  static Hooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
}

}  // namespace torch_remote::client
