// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/sparse_tensors.h"

#include <ATen/SparseCsrTensorImpl.h>
#include <ATen/SparseTensorImpl.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/_sparse_compressed_tensor_unsafe.h>
#include <ATen/ops/_sparse_coo_tensor_with_dims_and_tensors.h>
#include <algorithm>
#include <c10/core/Layout.h>
#include <c10/util/Exception.h>
#include <cstddef>
#include <cstdint>

namespace torch_remote::client {
namespace {

at::SparseTensorImpl& coo(const at::Tensor& sparse) {
  return *static_cast<at::SparseTensorImpl*>(sparse.unsafeGetTensorImpl());
}

at::SparseCsrTensorImpl& compressed(const at::Tensor& sparse) {
  return *static_cast<at::SparseCsrTensorImpl*>(sparse.unsafeGetTensorImpl());
}

bool has_components(const at::Tensor& sparse, std::span<const at::Tensor> components) {
  return std::ranges::equal(
      components_of(sparse), components,
      [](const at::Tensor& one, const at::Tensor& other) { return one.is_same(other); });
}

// Tensors whose metadata must not change, as those of detach(), refuse even what changes nothing.
void change_coo(const at::Tensor& sparse, const protocol::SparseLayout& layout,
                std::span<const at::Tensor> components) {
  at::SparseTensorImpl& impl = coo(sparse);
  const auto dimensions = static_cast<std::int64_t>(layout.sizes.size());
  if (sparse.sizes() != layout.sizes || impl.sparse_dim() != layout.sparse_dimensions)
    impl.raw_resize_(layout.sparse_dimensions, dimensions - layout.sparse_dimensions, layout.sizes);
  if (!has_components(sparse, components))
    impl.set_indices_and_values_unsafe(components[0], components[1]);
  if (impl.coalesced() != layout.is_coalesced) impl.set_coalesced(layout.is_coalesced);
}

}  // namespace

bool is_sparse(const at::Tensor& tensor) {
  if (!tensor.defined()) return false;
  switch (tensor.layout()) {
    case c10::Layout::Sparse:
    case c10::Layout::SparseCsr:
    case c10::Layout::SparseCsc:
    case c10::Layout::SparseBsr:
    case c10::Layout::SparseBsc:
      return true;
    default:
      return false;
  }
}

std::vector<at::Tensor> components_of(const at::Tensor& sparse) {
  if (sparse.layout() == c10::Layout::Sparse) return {coo(sparse).indices(), coo(sparse).values()};
  const at::SparseCsrTensorImpl& parts = compressed(sparse);
  return {parts.compressed_indices(), parts.plain_indices(), parts.values()};
}

protocol::SparseLayout sparse_layout_of(const at::Tensor& sparse) {
  const bool is_coo = sparse.layout() == c10::Layout::Sparse;
  const std::int64_t dimensions =
      is_coo ? coo(sparse).sparse_dim() : compressed(sparse).sparse_dim();
  return {.kind = static_cast<protocol::SparseKind>(sparse.layout()),
          .is_coalesced = is_coo && coo(sparse).coalesced(),
          .sparse_dimensions = static_cast<std::uint8_t>(dimensions),
          .sizes = sparse.sizes().vec()};
}

at::Tensor make_sparse(const protocol::SparseLayout& layout,
                       std::span<const at::Tensor> components) {
  const at::AutoDispatchBelowAutograd guard;
  const at::TensorOptions options =
      components.back().options().layout(static_cast<c10::Layout>(layout.kind));
  if (layout.kind != protocol::SparseKind::kCoo) {
    return at::_sparse_compressed_tensor_unsafe(components[0], components[1], components[2],
                                                layout.sizes, options);
  }
  const auto dimensions = static_cast<std::int64_t>(layout.sizes.size());
  return at::_sparse_coo_tensor_with_dims_and_tensors(
      layout.sparse_dimensions, dimensions - layout.sparse_dimensions, layout.sizes, components[0],
      components[1], options, layout.is_coalesced);
}

void change_sparse(const at::Tensor& sparse, const protocol::SparseLayout& layout,
                   std::span<const at::Tensor> components) {
  TORCH_CHECK(sparse.layout() == static_cast<c10::Layout>(layout.kind), "the executor made a ",
              static_cast<c10::Layout>(layout.kind), " tensor of a ", sparse.layout(), " one");
  if (layout.kind == protocol::SparseKind::kCoo) return change_coo(sparse, layout, components);
  if (has_components(sparse, components) && sparse.sizes() == layout.sizes) return;
  compressed(sparse).set_member_tensors(components[0], components[1], components[2],
                                        c10::IntArrayRef(layout.sizes));
}

}  // namespace torch_remote::client
