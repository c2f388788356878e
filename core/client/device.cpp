// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/device.h"

#include <array>
#include <atomic>
#include <c10/util/Exception.h>
#include <map>
#include <mutex>
#include <utility>

namespace torch_remote::client {
namespace {

Kernels kernels_of(const std::map<std::string, std::string>& description) {
  const auto kernels = description.find("kernels");
  const bool is_cuda = kernels != description.end() && kernels->second == "cuda";
  if (is_cuda || description.contains("allocator")) return Kernels::kAccelerator;
  const auto device = description.find("device");
  return device != description.end() && device->second == "null" ? Kernels::kNone : Kernels::kCpu;
}

bool has_values_with(const std::map<std::string, std::string>& description) {
  const auto values = description.find("values");
  return values == description.end() || values->second != "none";
}

// PyTorch asks for devices by number from anywhere, so their table has to be global. It is never
// destroyed, as tensors may be dropped after the end of main().
// What is atomic is read without the lock: by every operation, and in a forked child, where the
// lock may be held by a thread that is not there.
struct Registry {
  std::array<std::atomic<Device*>, kDeviceCountMax> devices{};
  std::array<std::atomic<const DeviceStarter*>, kDeviceCountMax> pending{};
  std::array<std::atomic<std::uint64_t>, kDeviceCountMax> serials{};
  std::mutex mutex;
  std::array<bool, kDeviceCountMax> reserved{};
  std::uint64_t made = 0;
  std::vector<std::unique_ptr<Device>> owned;
  std::vector<std::unique_ptr<const DeviceStarter>> owned_starters;
};

Registry& registry() {
  static auto* instance = new Registry;  // NOLINT(cppcoreguidelines-owning-memory): see above
  return *instance;
}

thread_local int current_index = 0;

bool has_place(int index) { return index >= 0 && index < kDeviceCountMax; }

Device* find_device(int index) {
  if (!has_place(index)) return nullptr;
  return registry().devices[static_cast<std::size_t>(index)].load(std::memory_order_acquire);
}

const DeviceStarter* find_starter(int index) {
  if (!has_place(index)) return nullptr;
  return registry().pending[static_cast<std::size_t>(index)].load(std::memory_order_acquire);
}

Device& start_device(int index) {
  const DeviceStarter* start = is_forked_child ? nullptr : find_starter(index);
  if (start != nullptr) (*start)(index);
  Device* device = find_device(index);
  if (device == nullptr && is_forked_child) raise_forked_child();
  const int count = device_count();
  TORCH_CHECK(device != nullptr, "there is no device remote:", index,
              count == 0 ? std::string() : " (there are " + std::to_string(count) + ")",
              "; make one with torch_remote.emulate(gpu_type) or torch_remote.connect(endpoint)");
  return *device;
}

}  // namespace

void raise_forked_child() {
  TORCH_CHECK(false,
              "Cannot use a remote device in a forked process: its connection belongs to the "
              "parent. Use the 'spawn' "
              "start method of multiprocessing, and make the device in the child.");
}

bool disown_devices() noexcept {
  // A child that started a pending device would rent a second machine.
  for (int index = 0; index < kDeviceCountMax; ++index) {
    if (is_running(index) || is_pending(index)) is_forked_child = true;
  }
  return is_forked_child;
}

Device::Device(int index, std::unique_ptr<session::Session> session, std::shared_ptr<void> executor)
    : index_(index),
      executor_(std::move(executor)),
      session_(std::move(session)),
      kernels_(kernels_of(session_->welcome().description)),
      emulates_gpu_(session_->welcome().description.contains("emulates")),
      has_values_(kernels_ != Kernels::kNone && has_values_with(session_->welcome().description)),
      plan_table_(session_->welcome().limits.plan_count_max),
      plans_(plan_table_.capacity()) {}

bool Device::needs_definition(std::uint32_t operator_number) {
  TORCH_CHECK(operator_number < session_->welcome().limits.operator_count_max,
              "the executor accepts ", session_->welcome().limits.operator_count_max,
              " different operators, and this program uses more");
  if (operator_number >= defined_operators_.size()) defined_operators_.resize(operator_number + 1);
  const bool needed = !defined_operators_[operator_number];
  defined_operators_[operator_number] = true;
  return needed;
}

protocol::Numbers Device::accumulated_before() const {
  const std::lock_guard lock(numbers_mutex_);
  return accumulated_before_;
}

void Device::set_accumulated_before(protocol::Numbers numbers) {
  const std::lock_guard lock(numbers_mutex_);
  accumulated_before_ = std::move(numbers);
}

at::Tensor Device::dropout_state(const std::function<at::Tensor()>& make) {
  const std::lock_guard lock(dropout_mutex_);
  if (!dropout_state_.defined()) dropout_state_ = make();
  return dropout_state_;
}

std::vector<protocol::Failure> Device::stop() {
  if (is_forked_child || stopped_.exchange(true)) return {};
  const at::Tensor dropped = [this] {
    const std::lock_guard lock(dropout_mutex_);
    return std::move(dropout_state_);
  }();
  auto unseen = session_->close();
  executor_.reset();
  plans_ = {};  // nobody gets a Turn any more
  return unseen;
}

Device& device_at(int index) {
  Device* device = find_device(index);
  if (device == nullptr) [[unlikely]]
    return start_device(index);
  return *device;
}

Device& device_of(const c10::Device& device) {
  return device_at(device.has_index() ? device.index() : current_device_index());
}

ReservedIndex::ReservedIndex() {
  if (is_forked_child)
    raise_forked_child();  // the lock below may be held by a thread that is not here
  const std::lock_guard lock(registry().mutex);
  for (value_ = 0; value_ < kDeviceCountMax; ++value_) {
    const auto position = static_cast<std::size_t>(value_);
    if (registry().reserved[position] || is_pending(value_)) continue;
    Device* device = registry().devices[position];
    // The ids of a stopped device's live tensors begin with its index.
    const bool is_free =
        device == nullptr || (device->stopped() && device->session().statistics().storages == 0);
    if (!is_free) continue;
    registry().reserved[position] = true;
    return;
  }
  TORCH_CHECK(false, "all ", kDeviceCountMax,
              " remote devices are in use; stop one with torch_remote.machine(device).stop()");
}

ReservedIndex::~ReservedIndex() {
  const std::lock_guard lock(registry().mutex);
  registry().reserved[static_cast<std::size_t>(value_)] = false;
}

namespace {

// Under the lock.
void keep_device(std::unique_ptr<Device> device) {
  registry().devices[static_cast<std::size_t>(device->index())] = device.get();
  registry().owned.push_back(std::move(device));
}

}  // namespace

void register_device(std::unique_ptr<Device> device) {
  const std::lock_guard lock(registry().mutex);
  registry().serials[static_cast<std::size_t>(device->index())] = ++registry().made;
  keep_device(std::move(device));
}

int add_pending_device(DeviceStarter start) {
  const ReservedIndex index;
  const std::lock_guard lock(registry().mutex);
  const auto position = static_cast<std::size_t>(index.value());
  registry().devices[position] = nullptr;  // one that was stopped, and has no tensors
  // Never destroyed, as the devices: another thread may be about to call it.
  registry().owned_starters.push_back(std::make_unique<const DeviceStarter>(std::move(start)));
  registry().serials[position] = ++registry().made;
  registry().pending[position] = registry().owned_starters.back().get();
  return index.value();
}

bool is_pending(int index) { return find_starter(index) != nullptr; }

void cancel_pending_device(int index) {
  if (has_place(index)) registry().pending[static_cast<std::size_t>(index)] = nullptr;
}

PendingDevice::PendingDevice(int index) : index_(index) {
  const std::lock_guard lock(registry().mutex);
  TORCH_CHECK(is_pending(index), "remote:", index, " waits for no machine");
  registry().reserved[static_cast<std::size_t>(index)] = true;
}

PendingDevice::~PendingDevice() {
  const std::lock_guard lock(registry().mutex);
  registry().reserved[static_cast<std::size_t>(index_)] = false;
}

void PendingDevice::become(std::unique_ptr<Device> device) {
  {
    const std::lock_guard lock(registry().mutex);
    if (is_pending(index_)) {
      keep_device(std::move(device));
      registry().pending[static_cast<std::size_t>(index_)] = nullptr;
      return;
    }
  }
  device->stop();
  TORCH_CHECK(false, "remote:", index_, " was stopped while its machine was being started");
}

std::uint64_t device_serial(int index) {
  return has_place(index) ? registry().serials[static_cast<std::size_t>(index)].load() : 0;
}

Device* find_running_device(int index) noexcept {
  Device* device = find_device(index);
  return device != nullptr && !device->stopped() ? device : nullptr;
}

bool is_running(int index) { return find_running_device(index) != nullptr; }

int device_count() {
  int count = 0;
  for (int index = 0; index < kDeviceCountMax; ++index) {
    if (find_device(index) != nullptr || is_pending(index)) count = index + 1;
  }
  return count;
}

int current_device_index() { return current_index; }

int exchange_device_index(int index) { return std::exchange(current_index, index); }

}  // namespace torch_remote::client
