// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/protocol/sparse_layout.h"

#include <string>

#include "core/protocol/tensor_layout.h"

namespace torch_remote::protocol {
namespace {

constexpr std::uint8_t kCompressedDimensions = 2;

SparseKind get_kind(ByteReader& reader) {
  const auto kind = reader.get<SparseKind>();
  switch (kind) {
    case SparseKind::kCoo:
    case SparseKind::kCsr:
    case SparseKind::kCsc:
    case SparseKind::kBsr:
    case SparseKind::kBsc:
      return kind;
  }
  throw ProtocolError("unknown sparse layout " + std::to_string(static_cast<int>(kind)));
}

}  // namespace

std::size_t component_count(SparseKind kind) { return kind == SparseKind::kCoo ? 2 : 3; }

void put_sparse_layout(ByteWriter& writer, const SparseLayout& layout) {
  writer.put(layout.kind);
  writer.put(static_cast<std::uint8_t>(layout.is_coalesced));
  writer.put(layout.sparse_dimensions);
  writer.put(static_cast<std::uint8_t>(layout.sizes.size()));
  for (const std::int64_t size : layout.sizes) writer.put(size);
}

SparseLayout get_sparse_layout(ByteReader& reader) {
  SparseLayout layout;
  layout.kind = get_kind(reader);
  layout.is_coalesced = reader.get<std::uint8_t>() != 0;
  layout.sparse_dimensions = reader.get<std::uint8_t>();
  const auto dimensions =
      reader.get_count<std::uint8_t>(sizeof(std::int64_t), kDimensionsMax, "dimensions");
  layout.sizes.reserve(dimensions);
  for (std::size_t i = 0; i < dimensions; ++i) {
    layout.sizes.push_back(reader.get<std::int64_t>());
    if (layout.sizes.back() < 0) throw ProtocolError("negative size");
  }
  check_element_count(layout.sizes);
  if (layout.sparse_dimensions > dimensions)
    throw ProtocolError("more sparse dimensions than dimensions");
  if (layout.kind != SparseKind::kCoo &&
      (layout.sparse_dimensions != kCompressedDimensions || layout.is_coalesced)) {
    throw ProtocolError("a compressed layout has 2 sparse dimensions and is not coalesced");
  }
  return layout;
}

}  // namespace torch_remote::protocol
