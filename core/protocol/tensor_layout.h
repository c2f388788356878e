// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// How a tensor lies in its storage, apart from where: the part that plans fix and calls repeat.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/protocol/bytes.h"
#include "core/protocol/wire.h"

namespace torch_remote::protocol {

// Element size in bytes; 0 for a number that is no data type on the wire.
std::uint64_t data_type_size_bytes(DataType type);

inline constexpr std::uint8_t kConjugateFlag = 1;  // values are the conjugates of the bytes
inline constexpr std::uint8_t kNegativeFlag = 2;   // values are the negatives of the bytes

struct TensorLayout {
  DataType dtype = kDataTypeBytes;
  std::uint8_t flags = 0;
  std::vector<std::int64_t> sizes{};
  std::vector<std::int64_t> strides{};  // in elements, never negative

  friend bool operator==(const TensorLayout&, const TensorLayout&) = default;
};

// Throws ProtocolError unless the number of elements fits 63 bits, which strides of 0 and sparse
// tensors don't see to. No size is negative.
void check_element_count(std::span<const std::int64_t> sizes);

// Bytes from the first element to behind the last one; 0 when there is no element.
// Throws ProtocolError beyond kStorageSizeBytesMax, so later arithmetic on it can't overflow.
std::uint64_t extent_size_bytes(const TensorLayout& layout);

void put_layout(ByteWriter& writer, DataType dtype, std::uint8_t flags,
                std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides);
TensorLayout get_layout(ByteReader& reader);

}  // namespace torch_remote::protocol
