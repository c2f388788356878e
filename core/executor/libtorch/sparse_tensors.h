// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Sparse tensors of a call: made of the storages that the client names, and taken apart again.
// PyTorch's kernels believe the indices of a sparse tensor, which for us are values that a client
// can set: each is held against the sizes before a kernel sees it.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstddef>
#include <span>
#include <vector>

#include "core/protocol/sparse_layout.h"

namespace torch_remote::executor::libtorch {

// An argument of a call.
class SparseArgument {
 public:
  // components: indices and values, or compressed indices, plain indices and values.
  // Throws ExecutorError where they make no sparse tensor of these sizes, an index lies outside of
  // them, or indices are said to be coalesced and aren't.
  SparseArgument(const protocol::SparseLayout& layout, std::vector<at::Tensor> components,
                 bool is_written);

  const at::Tensor& tensor() const { return tensor_; }
  // Whether it is the same tensor that the client names: operators ask whether arguments are one.
  bool is_made_of(const protocol::SparseLayout& layout,
                  std::span<const at::Tensor> components) const;
  void mark_written() { is_written_ = true; }
  bool is_written() const { return is_written_; }
  // To be called when the operator has run: what it wrote gets to the client's storages.
  void finish();
  // Whether a component of tensor() is still the one that the client has named; after finish().
  bool is_kept(std::size_t position, const at::Tensor& component) const;
  // Lets go of the tensor, whose components then belong to nobody else.
  void release() { tensor_.reset(); }

 private:
  protocol::SparseLayout layout_;
  std::vector<at::Tensor> components_;
  std::vector<at::Tensor> passed_;  // a component, or a copy of it without gaps
  at::Tensor tensor_;
  bool is_written_;
};

// Whether a tensor, which may be undefined, is of a layout that travels by its components.
bool is_sparse(const at::Tensor& tensor);

// The components of a sparse tensor, in their order.
std::vector<at::Tensor> components_of(const at::Tensor& sparse);

// What they don't say. The tensor is sparse.
protocol::SparseLayout sparse_layout_of(const at::Tensor& sparse);

}  // namespace torch_remote::executor::libtorch
