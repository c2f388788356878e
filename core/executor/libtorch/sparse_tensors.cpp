// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/sparse_tensors.h"

#include <ATen/SparseCsrTensorImpl.h>
#include <ATen/SparseTensorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_sparse_compressed_tensor_unsafe.h>
#include <ATen/ops/_sparse_coo_tensor_unsafe.h>
#include <ATen/ops/_validate_sparse_coo_tensor_args.h>
#include <algorithm>
#include <c10/core/Layout.h>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "core/executor/executor.h"

namespace torch_remote::executor::libtorch {
namespace {

using protocol::ErrorKind;

[[noreturn]] void refuse(const std::string& why) {
  throw ExecutorError(ErrorKind::kValue, "an argument is no sparse tensor: " + why);
}

void expect(bool condition, const char* why) {
  if (!condition) refuse(why);
}

c10::Layout torch_layout(const protocol::SparseLayout& layout) {
  return static_cast<c10::Layout>(layout.kind);
}

at::Tensor make_coo(const protocol::SparseLayout& layout, const at::Tensor& indices,
                    const at::Tensor& values) {
  expect(indices.scalar_type() == c10::kLong, "its indices are not int64");
  expect(indices.dim() == 2 && indices.size(0) == layout.sparse_dimensions,
         "its indices don't have a row for each sparse dimension");
  expect(values.dim() >= 1 && values.size(0) == indices.size(1),
         "it has not as many values as indices");
  const c10::IntArrayRef sizes(layout.sizes);
  expect(values.sizes().slice(1) == sizes.slice(static_cast<std::size_t>(indices.size(0))),
         "its values don't have the sizes of its dense dimensions");
  at::_validate_sparse_coo_tensor_args(indices, values, sizes, layout.is_coalesced);
  return at::_sparse_coo_tensor_unsafe(
      indices, values, sizes, values.options().layout(torch_layout(layout)), layout.is_coalesced);
}

// The sizes of a compressed tensor's parts, named from its own.
struct CompressedSizes {
  std::size_t batches;      // leading dimensions that all parts have
  std::int64_t compressed;  // rows or columns, of blocks where there are blocks
  std::int64_t plain;
};

CompressedSizes compressed_sizes(const protocol::SparseLayout& layout, const at::Tensor& compressed,
                                 const at::Tensor& plain, const at::Tensor& values) {
  const auto dimensions = [](const at::Tensor& tensor) {
    return static_cast<std::size_t>(tensor.dim());
  };
  const bool has_blocks =
      layout.kind == protocol::SparseKind::kBsr || layout.kind == protocol::SparseKind::kBsc;
  const bool is_by_row =
      layout.kind == protocol::SparseKind::kCsr || layout.kind == protocol::SparseKind::kBsr;
  const c10::IntArrayRef sizes(layout.sizes);
  expect(compressed.dim() >= 1 && plain.dim() == compressed.dim(),
         "its indices have other numbers of dimensions");
  const std::size_t batches = dimensions(compressed) - 1;
  const std::size_t blocks = has_blocks ? 2 : 0;
  expect(sizes.size() >= batches + 2 && dimensions(values) == sizes.size() - 1 + blocks,
         "its parts don't have the dimensions of its sizes");
  const c10::IntArrayRef batch = sizes.slice(0, batches);
  expect(compressed.sizes().slice(0, batches) == batch &&
             plain.sizes().slice(0, batches) == batch && values.sizes().slice(0, batches) == batch,
         "its parts have other batch sizes");
  expect(values.size(static_cast<std::int64_t>(batches)) == plain.size(-1),
         "it has not as many values as indices");
  expect(values.sizes().slice(batches + 1 + blocks) == sizes.slice(batches + 2),
         "its values don't have the sizes of its dense dimensions");
  std::int64_t rows = sizes[batches], columns = sizes[batches + 1];
  if (has_blocks) {
    const std::int64_t height = values.sizes()[batches + 1], width = values.sizes()[batches + 2];
    expect(height > 0 && width > 0 && rows % height == 0 && columns % width == 0,
           "it can't be divided into blocks of this size");
    rows /= height;
    columns /= width;
  }
  return {.batches = batches,
          .compressed = is_by_row ? rows : columns,
          .plain = is_by_row ? columns : rows};
}

// One look at the device's memory tells whether all of it holds.
void check_indices(const CompressedSizes& sizes, const at::Tensor& compressed,
                   const at::Tensor& plain) {
  expect(compressed.size(-1) == sizes.compressed + 1,
         "its compressed indices are not one more than its rows or columns");
  if (compressed.numel() == 0) return;  // there are no batches
  at::Tensor is_valid = (compressed.select(-1, 0) == 0)
                            .logical_and(compressed.select(-1, -1) == plain.size(-1))
                            .all();
  const at::Tensor begins = compressed.narrow(-1, 0, sizes.compressed);
  const at::Tensor ends = compressed.narrow(-1, 1, sizes.compressed);
  is_valid = is_valid.logical_and((begins <= ends).all());
  if (plain.numel() != 0) {
    is_valid = is_valid.logical_and(plain.min() >= 0).logical_and(plain.max() < sizes.plain);
  }
  if (!is_valid.item<bool>()) {
    throw ExecutorError(ErrorKind::kIndex,
                        "the indices of a sparse tensor are not within its sizes, or its "
                        "compressed indices don't rise from 0 to the number of its values");
  }
}

at::Tensor make_compressed(const protocol::SparseLayout& layout, const at::Tensor& compressed,
                           const at::Tensor& plain, const at::Tensor& values) {
  expect((compressed.scalar_type() == c10::kLong || compressed.scalar_type() == c10::kInt) &&
             compressed.scalar_type() == plain.scalar_type(),
         "its indices are not both int64 or both int32");
  check_indices(compressed_sizes(layout, compressed, plain, values), compressed, plain);
  return at::_sparse_compressed_tensor_unsafe(compressed, plain, values, layout.sizes,
                                              values.options().layout(torch_layout(layout)));
}

// Kernels of the compressed layouts take the memory of a component from its first element on as one
// without gaps.
at::Tensor without_gaps(const at::Tensor& component) {
  return component.is_non_overlapping_and_dense() ? component : component.contiguous();
}

// Operators resize the components of a compressed tensor: those of the storage table must not be.
at::Tensor handle_of(const at::Tensor& component) {
  return at::Tensor(component.unsafeGetTensorImpl()->shallow_copy_and_detach(
      /*version_counter=*/0, /*allow_tensor_metadata_change=*/true));
}

bool is_same_memory(const at::Tensor& one, const at::Tensor& other) {
  return one.storage().is_alias_of(other.storage()) && one.dtype() == other.dtype() &&
         one.storage_offset() == other.storage_offset() && one.sizes() == other.sizes() &&
         one.strides() == other.strides() && one.is_conj() == other.is_conj() &&
         one.is_neg() == other.is_neg();
}

const at::SparseTensorImpl& coo(const at::Tensor& sparse) {
  return *static_cast<const at::SparseTensorImpl*>(sparse.unsafeGetTensorImpl());
}

const at::SparseCsrTensorImpl& compressed(const at::Tensor& sparse) {
  return *static_cast<const at::SparseCsrTensorImpl*>(sparse.unsafeGetTensorImpl());
}

}  // namespace

SparseArgument::SparseArgument(const protocol::SparseLayout& layout,
                               std::vector<at::Tensor> components, bool is_written)
    : layout_(layout), components_(std::move(components)), is_written_(is_written) {
  const bool is_coo = layout.kind == protocol::SparseKind::kCoo;
  for (const at::Tensor& component : components_)
    passed_.push_back(is_coo ? component : without_gaps(component));
  tensor_ = is_coo ? make_coo(layout, passed_[0], passed_[1])
                   : make_compressed(layout, handle_of(passed_[0]), handle_of(passed_[1]),
                                     handle_of(passed_[2]));
}

bool SparseArgument::is_made_of(const protocol::SparseLayout& layout,
                                std::span<const at::Tensor> components) const {
  return layout == layout_ && std::ranges::equal(components, components_, is_same_memory);
}

void SparseArgument::finish() {
  if (!is_written_) return;
  const std::vector<at::Tensor> now = components_of(tensor_);
  for (std::size_t i = 0; i < now.size(); ++i) {
    const bool is_copy = !passed_[i].is_same(components_[i]);
    if (is_copy && is_same_memory(now[i], passed_[i])) components_[i].copy_(passed_[i]);
  }
}

bool SparseArgument::is_kept(std::size_t position, const at::Tensor& component) const {
  return is_same_memory(component, passed_.at(position));
}

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
  if (sparse.layout() == c10::Layout::Sparse) {
    return {coo(sparse).indices(), coo(sparse).values()};
  }
  const at::SparseCsrTensorImpl& parts = compressed(sparse);
  return {parts.compressed_indices(), parts.plain_indices(), parts.values()};
}

protocol::SparseLayout sparse_layout_of(const at::Tensor& sparse) {
  protocol::SparseLayout layout;
  layout.kind = static_cast<protocol::SparseKind>(sparse.layout());
  layout.sizes = sparse.sizes().vec();
  layout.sparse_dimensions = static_cast<std::uint8_t>(sparse.sparse_dim());
  layout.is_coalesced = sparse.layout() == c10::Layout::Sparse && coo(sparse).coalesced();
  return layout;
}

}  // namespace torch_remote::executor::libtorch
