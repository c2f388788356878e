// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The elements of a strided tensor by their number in row-major order of its sizes, whatever its
// strides, for loops that walk on from an element.
#pragma once

#include <ATen/core/Tensor.h>
#include <array>
#include <cstddef>
#include <cstdint>

namespace torch_remote::emulator::random {

// The distances, in elements, from the tensor's first element; valid as long as the tensor's sizes
// and strides are.
class LogicalOrder {
 public:
  explicit LogicalOrder(const at::Tensor& tensor)
      : sizes_(tensor.sizes()),
        strides_(tensor.strides()),
        is_contiguous_(tensor.is_contiguous()) {}

  // Calls use(i, offset) for the elements first + i.
  template <typename Use>
  void walk(std::uint64_t first, std::size_t count, const Use& use) const {
    if (is_contiguous_) {
      for (std::size_t i = 0; i < count; ++i) use(i, static_cast<std::int64_t>(first + i));
      return;
    }
    std::array<std::int64_t, 64> index{};
    std::int64_t offset = 0;
    auto rest = static_cast<std::int64_t>(first);
    for (std::size_t d = sizes_.size(); d-- > 0;) {
      index[d] = rest % sizes_[d];
      rest /= sizes_[d];
      offset += index[d] * strides_[d];
    }
    for (std::size_t i = 0; i < count; ++i) {
      use(i, offset);
      for (std::size_t d = sizes_.size(); d-- > 0;) {
        offset += strides_[d];
        if (++index[d] < sizes_[d]) break;
        offset -= strides_[d] * sizes_[d];
        index[d] = 0;
      }
    }
  }

 private:
  at::IntArrayRef sizes_;
  at::IntArrayRef strides_;
  bool is_contiguous_;
};

}  // namespace torch_remote::emulator::random
