// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// How a plan says that a tensor lies in its storage, in PyTorch's types, and with what a call needs
// to check precomputed.
#pragma once

#include <bit>
#include <c10/core/ScalarType.h>
#include <c10/core/TensorImpl.h>
#include <c10/util/DimVector.h>
#include <c10/util/typeid.h>
#include <cstdint>
#include <limits>

#include "core/protocol/tensor_layout.h"

namespace torch_remote::executor::libtorch {

struct PlannedTensor {
  PlannedTensor() = default;
  // Throws ProtocolError for a layout that reaches beyond the largest storage.
  explicit PlannedTensor(const protocol::TensorLayout& layout)
      : dtype(c10::scalarTypeToTypeMeta(static_cast<c10::ScalarType>(layout.dtype))),
        sizes(layout.sizes.begin(), layout.sizes.end()),
        strides(layout.strides.begin(), layout.strides.end()),
        extent_size_bytes(protocol::extent_size_bytes(layout)),
        element_size_shift(static_cast<std::uint8_t>(
            std::countr_zero(protocol::data_type_size_bytes(layout.dtype)))),
        is_conjugate((layout.flags & protocol::kConjugateFlag) != 0),
        is_negative((layout.flags & protocol::kNegativeFlag) != 0) {}

  c10::IntArrayRef sizes_ref() const { return {sizes.data(), sizes.size()}; }
  c10::IntArrayRef strides_ref() const { return {strides.data(), strides.size()}; }

  // Whether the storage holds all of the tensor when it begins at this element. One without
  // elements may begin anywhere, as a slice of an empty tensor does.
  bool fits(std::uint64_t offset, std::uint64_t storage_size_bytes) const {
    if (extent_size_bytes == 0) return offset <= std::numeric_limits<std::int64_t>::max();
    return extent_size_bytes <= storage_size_bytes &&
           offset <= (storage_size_bytes - extent_size_bytes) >> element_size_shift;
  }

  bool is_layout_of(const c10::TensorImpl& tensor, std::int64_t offset) const {
    return tensor.dtype() == dtype && tensor.storage_offset() == offset &&
           tensor.sizes() == sizes_ref() && tensor.strides() == strides_ref() &&
           tensor.is_conj() == is_conjugate && tensor.is_neg() == is_negative;
  }

  caffe2::TypeMeta dtype;
  c10::DimVector sizes;
  c10::DimVector strides;
  std::uint64_t extent_size_bytes = 0;
  std::uint8_t element_size_shift = 0;  // every element's size is a power of two
  bool is_conjugate = false;
  bool is_negative = false;
};

}  // namespace torch_remote::executor::libtorch
