// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Sparse tensors here are PyTorch's own: what they are made of are ordinary remote tensors, so that
// ids and the end of a storage are as everywhere. This file takes them apart and makes them.
#pragma once

#include <ATen/core/Tensor.h>
#include <span>
#include <vector>

#include "core/protocol/sparse_layout.h"

namespace torch_remote::client {

// Whether a tensor, which may be undefined, is of a layout that travels by its components.
bool is_sparse(const at::Tensor& tensor);

// Indices and values, or compressed indices, plain indices and values.
std::vector<at::Tensor> components_of(const at::Tensor& sparse);

// What the components don't say.
protocol::SparseLayout sparse_layout_of(const at::Tensor& sparse);

// As many components as the layout wants. Throws c10::Error where they don't fit each other.
at::Tensor make_sparse(const protocol::SparseLayout& layout,
                       std::span<const at::Tensor> components);

// Gives a sparse tensor what an operator has made of it. Throws c10::Error like make_sparse, and
// for another kind of layout.
void change_sparse(const at::Tensor& sparse, const protocol::SparseLayout& layout,
                   std::span<const at::Tensor> components);

}  // namespace torch_remote::client
