// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/generators.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <cstring>
#include <exception>
#include <utility>

#include "core/executor/executor.h"

namespace torch_remote::executor::libtorch {
namespace {

// A state is a few kilobytes, and there is no command that drops one.
constexpr std::size_t kGeneratorCountMax = 65536;

at::Generator make_generator(c10::Device device) {
  if (device.is_cpu()) return at::make_generator<at::CPUGeneratorImpl>(c10::default_rng_seed_val);
  return at::globalContext()
      .getAcceleratorHooksInterface(device.type())
      .getNewGenerator(device.index());
}

}  // namespace

Generators::Generators(c10::Device device, const RandomSource* source)
    : device_(device), source_(source), default_(make()) {}

at::Generator Generators::make() const {
  return source_ != nullptr ? source_->make_generator() : make_generator(device_);
}

const at::Generator& Generators::get(std::uint64_t number) {
  if (number == 0) return default_;
  const auto found = others_.find(number);
  if (found != others_.end()) return found->second;
  if (others_.size() == kGeneratorCountMax) {
    throw ExecutorError(protocol::ErrorKind::kRuntime, "too many generators");
  }
  return others_.emplace(number, make()).first->second;
}

void Generators::seed(std::uint64_t number, std::uint64_t seed) {
  at::Generator generator = get(number);
  generator.set_current_seed(seed);
}

std::vector<std::byte> Generators::state(std::uint64_t number) {
  const at::Tensor state = get(number).get_state();
  const auto* bytes = static_cast<const std::byte*>(state.const_data_ptr());
  return {bytes, bytes + state.nbytes()};
}

void Generators::set_state(std::uint64_t number, std::span<const std::byte> state) {
  const at::Tensor bytes =
      at::empty({static_cast<std::int64_t>(state.size())}, at::TensorOptions(at::kByte));
  std::memcpy(bytes.mutable_data_ptr(), state.data(), state.size());
  at::Generator generator = get(number);
  generator.set_state(bytes);
}

namespace {

std::mutex& loan_mutex() {
  static std::mutex mutex;
  return mutex;
}

at::Tensor copy_state(at::Generator& from) {
  const std::lock_guard lock(from.mutex());
  return from.get_state();
}

void set_state(at::Generator& to, const at::Tensor& state) {
  const std::lock_guard lock(to.mutex());
  to.set_state(state);
}

}  // namespace

DefaultGeneratorLoan::DefaultGeneratorLoan(c10::Device device, at::Generator generator)
    : lock_(loan_mutex()),
      device_default_(at::globalContext()
                          .getAcceleratorHooksInterface(device.type())
                          .getDefaultGenerator(device.index())),
      generator_(std::move(generator)),
      state_before_(copy_state(device_default_)) {
  set_state(device_default_, copy_state(generator_));
}

DefaultGeneratorLoan::~DefaultGeneratorLoan() {
  try {
    set_state(generator_, copy_state(device_default_));
    set_state(device_default_, state_before_);
  } catch (const std::exception&) {
    // A device that has failed: nothing of it will be used.
  }
}

}  // namespace torch_remote::executor::libtorch
