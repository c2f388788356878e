// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The elements of one tensor on an executor, taken from there to be changed and put back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "conformance/mutants/mutation.h"
#include "conformance/mutants/places.h"
#include "core/executor/executor.h"

namespace torch_remote::mutants {

class Contents {
 public:
  // Reads them. Throws ExecutorError where there is no such storage.
  Contents(executor::Executor& executor, const Place& place);

  std::uint64_t element_count() const { return offsets_.size(); }
  const std::vector<std::byte>& bytes() const { return bytes_; }
  bool has_changed() const { return bytes_ != original_; }

  // Writes the elements if they have changed, which it tells.
  bool store();
  // Writes those that were read.
  void restore();

  // Each leaves the elements as they are where they can't show the change: no element but zeros,
  // for example, for kElementLost. Elements that are not a number stay as they are.
  void change(Variation variation, std::uint64_t position);
  void set_last_element_to_zero();
  void take_bytes_of(const Contents& other);

 private:
  using Element = std::span<std::byte>;

  Element element(std::uint64_t index);
  template <typename Change>
  void change_one(std::uint64_t position, Change change);
  void shift();
  void permute(Variation variation);
  void round(unsigned kept_mantissa_bits, bool in_float16);

  executor::Executor& executor_;
  Place place_;
  std::uint64_t element_size_bytes_;
  std::vector<std::uint64_t> offsets_;  // of the elements in bytes_, in logical order
  std::vector<std::byte> bytes_;
  std::vector<std::byte> original_;
};

}  // namespace torch_remote::mutants
