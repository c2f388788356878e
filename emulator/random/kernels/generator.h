// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// CUDA's generator on the CPU: a seed and an offset, and the GPU whose grids its numbers come from.
#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/DispatchKeySet.h>
#include <c10/core/GeneratorImpl.h>
#include <cstdint>
#include <mutex>
#include <optional>

#include "emulator/random/grid.h"

namespace torch_remote::emulator::random {

// Operators that are given such a generator are dispatched by this key, so that PyTorch's own
// composite operators find the kernels of this folder, and an operator without one is refused by
// name.
inline constexpr c10::DispatchKey kPhiloxKey = c10::DispatchKey::PrivateUse3;

// Where a kernel's draws begin.
struct Draws {
  std::uint64_t seed = 0;
  std::uint64_t first = 0;  // the offset in draws of four numbers

  std::uint64_t offset() const { return first * 4; }
};

// Takes part in the locking that at::Generator asks for: reserve() locks, the others don't.
class PhiloxGenerator final : public c10::GeneratorImpl {
 public:
  explicit PhiloxGenerator(const Card& card);

  // Takes `increment` numbers of each thread, rounded up to fours, and returns where they begin.
  Draws reserve(std::uint64_t increment);
  const Card& card() const { return card_; }

  void set_current_seed(std::uint64_t seed) override;  // and the offset 0
  std::uint64_t current_seed() const override { return seed_; }
  std::uint64_t seed() override;
  void set_offset(std::uint64_t offset) override;  // throws c10::Error unless a multiple of four
  std::uint64_t get_offset() const override { return offset_; }
  // 16 bytes: the seed, the offset. A state of the seed alone is taken too.
  void set_state(const c10::TensorImpl& state) override;
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override;

 private:
  PhiloxGenerator* clone_impl() const override;

  Card card_;
  std::uint64_t seed_;
  std::uint64_t offset_ = 0;
};

// Throws c10::Error where there is none, or one of another kind.
PhiloxGenerator& philox_generator(const std::optional<at::Generator>& generator);

}  // namespace torch_remote::emulator::random
