// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/random/kernels/generator.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <cstring>
#include <memory>

namespace torch_remote::emulator::random {
namespace {

constexpr std::int64_t kSeedSizeBytes = 8;
constexpr std::int64_t kStateSizeBytes = 16;

}  // namespace

// The device says what it draws as: kernels of other devices refuse the generator.
PhiloxGenerator::PhiloxGenerator(const Card& card)
    : GeneratorImpl({c10::DeviceType::CUDA, 0}, c10::DispatchKeySet(kPhiloxKey)),
      card_(card),
      seed_(c10::default_rng_seed_val) {}

Draws PhiloxGenerator::reserve(std::uint64_t increment) {
  const std::lock_guard lock(mutex_);
  const Draws draws{.seed = seed_, .first = offset_ / 4};
  offset_ += round_up_to_four(increment);
  return draws;
}

void PhiloxGenerator::set_current_seed(std::uint64_t seed) {
  seed_ = seed;
  offset_ = 0;
}

std::uint64_t PhiloxGenerator::seed() {
  set_current_seed(c10::detail::getNonDeterministicRandom(/*is_cuda=*/true));
  return seed_;
}

void PhiloxGenerator::set_offset(std::uint64_t offset) {
  TORCH_CHECK(offset % 4 == 0, "offset must be a multiple of 4");
  offset_ = offset;
}

void PhiloxGenerator::set_state(const c10::TensorImpl& state) {
  at::detail::check_rng_state(state);
  TORCH_CHECK(state.numel() == kStateSizeBytes || state.numel() == kSeedSizeBytes,
              "RNG state is wrong size");
  const auto* bytes = static_cast<const std::byte*>(state.data());
  std::uint64_t seed = 0, offset = 0;
  std::memcpy(&seed, bytes, sizeof(seed));
  if (state.numel() == kStateSizeBytes)
    std::memcpy(&offset, bytes + kSeedSizeBytes, sizeof(offset));
  set_offset(offset);
  seed_ = seed;
}

c10::intrusive_ptr<c10::TensorImpl> PhiloxGenerator::get_state() const {
  const at::Tensor state = at::detail::empty_cpu({kStateSizeBytes}, at::kByte);
  auto* bytes = static_cast<std::byte*>(state.mutable_data_ptr());
  std::memcpy(bytes, &seed_, sizeof(seed_));
  std::memcpy(bytes + kSeedSizeBytes, &offset_, sizeof(offset_));
  return state.getIntrusivePtr();
}

PhiloxGenerator* PhiloxGenerator::clone_impl() const {
  auto copy = std::make_unique<PhiloxGenerator>(card_);
  copy->seed_ = seed_;
  copy->offset_ = offset_;
  return copy.release();  // GeneratorImpl's contract
}

PhiloxGenerator& philox_generator(const std::optional<at::Generator>& generator) {
  TORCH_CHECK(generator && generator->defined(), "an emulated GPU draws from a generator alone");
  auto* philox = dynamic_cast<PhiloxGenerator*>(generator->unsafeGetGeneratorImpl());
  TORCH_CHECK(philox != nullptr, "expected the generator of an emulated GPU, not one of ",
              generator->device());
  return *philox;
}

}  // namespace torch_remote::emulator::random
