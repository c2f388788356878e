// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/generator.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <array>
#include <c10/core/GeneratorImpl.h>
#include <c10/util/Exception.h>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/client/errors.h"
#include "core/protocol/wire.h"

namespace torch_remote::client {
namespace {

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

// CUDA's: the seed and the offset.
constexpr std::size_t kPhiloxStateSizeBytes = 16;

std::optional<std::uint64_t> seed_of_first_state(std::span<const std::byte> state) {
  std::array<std::uint64_t, kPhiloxStateSizeBytes / sizeof(std::uint64_t)> seed_and_offset;
  if (state.size() != kPhiloxStateSizeBytes) return std::nullopt;
  std::memcpy(seed_and_offset.data(), state.data(), state.size());
  if (seed_and_offset.back() != 0) return std::nullopt;
  return seed_and_offset.front();
}

// Generators are known to executors by number. One that is dropped leaves its number, and so what
// it costs the executor, to the next, which begins by seeding it. 0 is a device's default.
class Numbers {
 public:
  std::uint64_t acquire() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return next_++;
    const std::uint64_t number = free_.back();
    free_.pop_back();
    return number;
  }
  void release(std::uint64_t number) {
    const std::lock_guard lock(mutex_);
    free_.push_back(number);
  }

 private:
  std::mutex mutex_;
  std::vector<std::uint64_t> free_;
  std::uint64_t next_ = 1;
};

// Never destroyed: generators may be dropped after the end of main().
Numbers& numbers() {
  static auto* instance = new Numbers;  // NOLINT(cppcoreguidelines-owning-memory)
  return *instance;
}

// One generator of an executor, which several handles may share.
class State {
 public:
  State() : number_(numbers().acquire()) {}
  explicit State(std::uint64_t number) : number_(number) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (number_ != kDefault) numbers().release(number_);
  }

  static constexpr std::uint64_t kDefault = 0;

  std::uint64_t number() const { return number_; }
  std::uint64_t seed() const { return seed_; }
  void set_seed(std::uint64_t seed) { seed_ = seed; }

 private:
  std::uint64_t number_;
  std::uint64_t seed_ = c10::default_rng_seed_val;
};

class RemoteGenerator final : public c10::GeneratorImpl {
 public:
  RemoteGenerator(int device_index, std::shared_ptr<State> state)
      : GeneratorImpl({c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(device_index)},
                      kKeys),
        state_(std::move(state)) {}

  std::uint64_t number() const { return state_->number(); }

  void set_current_seed(std::uint64_t seed) override {
    state_->set_seed(seed);
    with_torch_errors(device().index(), [&] { remote().session().turn().seed(number(), seed); });
  }
  std::uint64_t current_seed() const override { return state_->seed(); }
  std::uint64_t seed() override {
    const std::uint64_t random = c10::detail::getNonDeterministicRandom(/*is_cuda=*/true);
    set_current_seed(random);
    return random;
  }
  void set_offset(std::uint64_t offset) override {
    check_has_offset();
    TORCH_CHECK(offset % 4 == 0, "offset must be a multiple of 4");
    std::array<std::byte, kPhiloxStateSizeBytes> bytes;
    const std::uint64_t seed = state_->seed();
    std::memcpy(bytes.data(), &seed, sizeof(seed));
    std::memcpy(bytes.data() + sizeof(seed), &offset, sizeof(offset));
    set_state_bytes(bytes);
  }
  std::uint64_t get_offset() const override {
    check_has_offset();
    const std::vector<std::byte> bytes = state_bytes();
    TORCH_CHECK(bytes.size() == kPhiloxStateSizeBytes, "the executor's generator has a state of ",
                bytes.size(), " bytes, where CUDA's has ", kPhiloxStateSizeBytes);
    std::uint64_t offset = 0;
    std::memcpy(&offset, bytes.data() + sizeof(std::uint64_t), sizeof(offset));
    return offset;
  }

  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    const std::vector<std::byte> bytes = state_bytes();
    const at::Tensor state =
        at::detail::empty_cpu({static_cast<std::int64_t>(bytes.size())}, at::kByte);
    std::memcpy(state.mutable_data_ptr(), bytes.data(), bytes.size());
    return state.getIntrusivePtr();
  }
  void set_state(const c10::TensorImpl& state) override {
    TORCH_CHECK_TYPE(
        state.dtype() == caffe2::TypeMeta::Make<std::uint8_t>() && state.is_cpu() &&
            state.is_contiguous(),
        "a generator's state is a contiguous uint8 tensor on CPU, as get_state() gave it");
    set_state_bytes(
        {static_cast<const std::byte*>(state.data()), static_cast<std::size_t>(state.numel())});
  }
  // A state of CUDA's begins with its seed. One that has drawn nothing means the same to every
  // executor: a device that has not been started has no other (torch.remote.get_rng_state).
  void set_state_bytes(std::span<const std::byte> bytes) {
    TORCH_CHECK_VALUE(bytes.size() <= protocol::kHelloSizeBytesMax,
                      "a generator's state has at most ", protocol::kHelloSizeBytesMax,
                      " bytes, not ", bytes.size());
    if (const auto seed = seed_of_first_state(bytes); seed && !has_offset())
      return set_current_seed(*seed);
    with_torch_errors(device().index(),
                      [&] { remote().session().turn().set_generator_state(number(), bytes); });
    std::uint64_t seed = 0;
    if (!has_offset() || bytes.size() > kPhiloxStateSizeBytes || bytes.size() < sizeof(seed))
      return;
    std::memcpy(&seed, bytes.data(), sizeof(seed));
    state_->set_seed(seed);
  }

  // Another handle of the same state, and taking over another's. As for CUDA, both go on together.
  c10::intrusive_ptr<c10::GeneratorImpl> graphsafe_get_state() const override {
    return c10::make_intrusive<RemoteGenerator>(device().index(), state_);
  }
  void graphsafe_set_state(const c10::intrusive_ptr<c10::GeneratorImpl>& other) override {
    TORCH_CHECK_TYPE(other->device() == device(), "a generator of ", device(),
                     " can't have the state of one of ", other->device());
    // Operations that name no generator use the executor's default one, whatever its handle says.
    TORCH_CHECK_NOT_IMPLEMENTED(
        number() != State::kDefault,
        "the default generator of a remote device keeps its state; copy another one's into it with "
        "set_state(generator.get_state())");
    state_ = static_cast<const RemoteGenerator&>(*other).state_;
  }

 private:
  Device& remote() const { return device_at(device().index()); }
  RemoteGenerator* clone_impl() const override {
    auto copy = std::make_unique<RemoteGenerator>(device().index(), std::make_shared<State>());
    copy->set_state(*get_state());
    copy->state_->set_seed(current_seed());
    return copy.release();  // GeneratorImpl's contract
  }
  std::vector<std::byte> state_bytes() const {
    return with_torch_errors(device().index(),
                             [&] { return remote().session().generator_state(number()); });
  }
  // The executor is a GPU, or draws as one does.
  bool has_offset() const {
    const auto& description = remote().session().welcome().description;
    const auto begins = [&](const char* key, const char* text) {
      const auto entry = description.find(key);
      return entry != description.end() && entry->second.starts_with(text);
    };
    return begins("random_numbers", "philox") || begins("device", "cuda");
  }
  void check_has_offset() const {
    TORCH_CHECK_NOT_IMPLEMENTED(
        has_offset(), "the executor's generator has no offset; use get_state and set_state");
  }

  std::shared_ptr<State> state_;
};

}  // namespace

const at::Generator& default_generator(int device_index) {
  static std::mutex mutex;
  static auto& generators = *new std::array<at::Generator, kDeviceCountMax>;
  TORCH_CHECK(device_index >= 0 && device_index < kDeviceCountMax,
              "there is no device remote:", device_index);
  const std::lock_guard lock(mutex);
  at::Generator& generator = generators[static_cast<std::size_t>(device_index)];
  if (!generator.defined())
    generator =
        at::make_generator<RemoteGenerator>(device_index, std::make_shared<State>(State::kDefault));
  return generator;
}

at::Generator make_remote_generator(int device_index) {
  auto generator = at::make_generator<RemoteGenerator>(device_at(device_index).index(),
                                                       std::make_shared<State>());
  generator.set_current_seed(c10::default_rng_seed_val);
  return generator;
}

std::uint64_t generator_number(const at::Generator& generator, const std::string& operator_name) {
  TORCH_CHECK(generator.device().type() == c10::DeviceType::PrivateUse1, operator_name,
              ": expected a 'remote' device type for generator but found '", generator.device(),
              "'");
  return static_cast<const RemoteGenerator*>(generator.unsafeGetGeneratorImpl())->number();
}

void set_default_generator_state(int device_index, std::span<const std::byte> state) {
  static_cast<RemoteGenerator*>(default_generator(device_index).unsafeGetGeneratorImpl())
      ->set_state_bytes(state);
}

void seed_new_device(int device_index, std::uint64_t seed) {
  auto generator = default_generator(device_index);
  generator.set_current_seed(seed);
}

}  // namespace torch_remote::client
