// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// cuDNN wants all weights of a network in one buffer: the matrices of all cells, a cell's side by
// side, and then the biases likewise. A cell is a layer in one direction; PyTorch gives its weights
// as w_ih, w_hh, b_ih, b_hh, w_hr, without those that the network doesn't have.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <vector>

namespace torch_remote::client {

// The buffer of which the weights are views; undefined where they lie otherwise.
at::Tensor find_weight_buffer(at::TensorList weights, std::int64_t weights_per_cell);

// A buffer with copies of the weights, of which the results are views. Recorded by autograd.
struct FlatWeights {
  at::Tensor buffer;
  std::vector<at::Tensor> weights;
};
FlatWeights copy_to_weight_buffer(at::TensorList weights, std::int64_t weights_per_cell,
                                  at::ScalarType dtype);

}  // namespace torch_remote::client
