// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// How a sparse tensor is made of dense ones, its components: indices and values in COO; compressed
// indices, plain indices and values in the four compressed layouts. The components travel as
// ordinary tensors do; this is what they don't say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/protocol/bytes.h"

namespace torch_remote::protocol {

// PyTorch's numbers (c10/core/Layout.h).
enum class SparseKind : std::uint8_t { kCoo = 1, kCsr = 2, kCsc = 4, kBsr = 5, kBsc = 6 };

struct SparseLayout {
  SparseKind kind = SparseKind::kCoo;
  bool is_coalesced = false;           // kCoo: the indices are in order, each of them once
  std::uint8_t sparse_dimensions = 0;  // kCoo: the first ones; 2 in the compressed layouts
  std::vector<std::int64_t> sizes{};   // their product fits 63 bits

  friend bool operator==(const SparseLayout&, const SparseLayout&) = default;
};

// Two in COO, three in the compressed layouts.
std::size_t component_count(SparseKind kind);

void put_sparse_layout(ByteWriter& writer, const SparseLayout& layout);
// Throws ProtocolError with the reason when the bytes are malformed.
SparseLayout get_sparse_layout(ByteReader& reader);

}  // namespace torch_remote::protocol
