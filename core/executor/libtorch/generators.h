// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A session's random number generators. The process' own generator is never used: it belongs to the
// user of an in-process executor, and would couple sessions to each other.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/executor/libtorch/random_source.h"

namespace torch_remote::executor::libtorch {

class Generators {
 public:
  // source is nullptr where the device's own generators are used, and else lives as long.
  Generators(c10::Device device, const RandomSource* source);

  // The generator of that number; made, with PyTorch's default seed, when it is first named.
  const at::Generator& get(std::uint64_t number);
  // Number 0, which operators use that name none.
  const at::Generator& default_generator() const { return default_; }

  void seed(std::uint64_t number, std::uint64_t seed);
  std::vector<std::byte> state(std::uint64_t number);
  void set_state(std::uint64_t number, std::span<const std::byte> state);

 private:
  at::Generator make() const;

  c10::Device device_;
  const RandomSource* source_;
  at::Generator default_;
  std::unordered_map<std::uint64_t, at::Generator> others_;
};

// While it lives, an accelerator's default generator, which its kernels use that are given none,
// is the session's: one session's at a time.
class DefaultGeneratorLoan {
 public:
  DefaultGeneratorLoan(c10::Device device, at::Generator generator);
  DefaultGeneratorLoan(const DefaultGeneratorLoan&) = delete;
  DefaultGeneratorLoan& operator=(const DefaultGeneratorLoan&) = delete;
  ~DefaultGeneratorLoan();

 private:
  std::unique_lock<std::mutex> lock_;
  at::Generator device_default_;
  at::Generator generator_;
  at::Tensor state_before_;
};

}  // namespace torch_remote::executor::libtorch
