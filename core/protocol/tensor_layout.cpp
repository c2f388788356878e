// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/protocol/tensor_layout.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>
#include <string>

namespace torch_remote::protocol {
namespace {

// Indexed by c10::ScalarType; 0 where a number has no element that could travel.
constexpr std::array<std::uint8_t, 46> kElementSizes = {
    1, 1, 2,  4, 8,        // uint8 int8 int16 int32 int64
    2, 4, 8,               // float16 float32 float64
    4, 8, 16,              // complex32 complex64 complex128
    1,                     // bool
    0, 0, 0,               // qint8 quint8 qint32: quantizers don't travel
    2,                     // bfloat16
    0, 0, 0,  0, 0, 0, 0,  // quint4x2 quint2x4 bits1x8 bits2x4 bits4x2 bits8 bits16
    1, 1, 1,  1,           // float8_e5m2 float8_e4m3fn float8_e5m2fnuz float8_e4m3fnuz
    2, 4, 8,               // uint16 uint32 uint64
    0, 0, 0,  0, 0, 0, 0,  // uint1 ... uint7
    0, 0, 0,  0, 0, 0, 0,  // int1 ... int7
    1, 1,                  // float8_e8m0fnu float4_e2m1fn_x2
};

}  // namespace

void check_element_count(std::span<const std::int64_t> sizes) {
  constexpr std::uint64_t kElementsMax = std::numeric_limits<std::int64_t>::max();
  std::uint64_t elements = 1;
  for (const std::int64_t size : sizes) {
    const auto factor = static_cast<std::uint64_t>(size);
    if (factor != 0 && elements > kElementsMax / factor) {
      throw ProtocolError("tensor has too many elements");
    }
    elements *= factor;
  }
}

std::uint64_t data_type_size_bytes(DataType type) {
  return type < kElementSizes.size() ? kElementSizes[type] : 0;
}

std::uint64_t extent_size_bytes(const TensorLayout& layout) {
  const std::uint64_t element_size_bytes = data_type_size_bytes(layout.dtype);
  if (element_size_bytes == 0) {
    throw ProtocolError("unknown dtype " + std::to_string(layout.dtype));
  }
  const std::uint64_t elements_max = kStorageSizeBytesMax / element_size_bytes;
  std::uint64_t elements = 1;
  if (std::ranges::find(layout.sizes, 0) != layout.sizes.end()) return 0;
  for (std::size_t i = 0; i < layout.sizes.size(); ++i) {
    const auto steps = static_cast<std::uint64_t>(layout.sizes[i]) - 1;
    const auto stride = static_cast<std::uint64_t>(layout.strides[i]);
    if (steps != 0 && stride > (elements_max - elements) / steps) {
      throw ProtocolError("tensor reaches beyond the largest storage");
    }
    elements += steps * stride;
  }
  return elements * element_size_bytes;
}

void put_layout(ByteWriter& writer, DataType dtype, std::uint8_t flags,
                std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides) {
  assert(sizes.size() == strides.size());
  writer.put(dtype);
  writer.put(flags);
  writer.put(static_cast<std::uint8_t>(sizes.size()));
  writer.put_bytes(std::as_bytes(sizes));
  writer.put_bytes(std::as_bytes(strides));
}

TensorLayout get_layout(ByteReader& reader) {
  TensorLayout layout;
  layout.dtype = reader.get<DataType>();
  if (data_type_size_bytes(layout.dtype) == 0) {
    throw ProtocolError("unknown dtype " + std::to_string(layout.dtype));
  }
  layout.flags = reader.get<std::uint8_t>();
  const std::size_t dimensions =
      reader.get_count<std::uint8_t>(2 * sizeof(std::int64_t), kDimensionsMax, "dimensions");
  const auto get_extents = [&](std::vector<std::int64_t>& extents, const char* what) {
    extents.resize(dimensions);
    for (auto& extent : extents) {
      extent = reader.get<std::int64_t>();
      if (extent < 0) throw ProtocolError(std::string("negative ") + what);
    }
  };
  get_extents(layout.sizes, "size");
  get_extents(layout.strides, "stride");
  check_element_count(layout.sizes);
  extent_size_bytes(layout);  // for its check
  return layout;
}

}  // namespace torch_remote::protocol
