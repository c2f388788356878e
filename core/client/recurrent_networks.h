// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// LSTM, GRU and plain recurrent networks, as PyTorch takes them apart for CUDA: one operator of
// cuDNN's (aten::_cudnn_rnn) where the device stands for a GPU and cuDNN would take the call, with
// PyTorch's own derivative of it; else the cells that the networks are composed of. `_input` is a
// batch of sequences of one length, `_data` packed ones. All throw c10::Error; any thread.
#pragma once

#include <ATen/core/Tensor.h>
#include <array>
#include <c10/core/SymInt.h>
#include <c10/core/SymIntArrayRef.h>
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

namespace torch_remote::client {

class Device;

// Whether cuDNN's operator is there.
bool has_recurrent_networks(const Device& device);

using TwoTensors = std::tuple<at::Tensor, at::Tensor>;
using ThreeTensors = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

ThreeTensors lstm_input(const at::Tensor& input, at::TensorList states, at::TensorList weights,
                        bool has_biases, std::int64_t layers, double dropout, bool train,
                        bool bidirectional, bool batch_first);
ThreeTensors lstm_data(const at::Tensor& data, const at::Tensor& batch_sizes, at::TensorList states,
                       at::TensorList weights, bool has_biases, std::int64_t layers, double dropout,
                       bool train, bool bidirectional);
TwoTensors gru_input(const at::Tensor& input, const at::Tensor& state, at::TensorList weights,
                     bool has_biases, std::int64_t layers, double dropout, bool train,
                     bool bidirectional, bool batch_first);
TwoTensors gru_data(const at::Tensor& data, const at::Tensor& batch_sizes, const at::Tensor& state,
                    at::TensorList weights, bool has_biases, std::int64_t layers, double dropout,
                    bool train, bool bidirectional);
TwoTensors rnn_tanh_input(const at::Tensor& input, const at::Tensor& state, at::TensorList weights,
                          bool has_biases, std::int64_t layers, double dropout, bool train,
                          bool bidirectional, bool batch_first);
TwoTensors rnn_tanh_data(const at::Tensor& data, const at::Tensor& batch_sizes,
                         const at::Tensor& state, at::TensorList weights, bool has_biases,
                         std::int64_t layers, double dropout, bool train, bool bidirectional);
TwoTensors rnn_relu_input(const at::Tensor& input, const at::Tensor& state, at::TensorList weights,
                          bool has_biases, std::int64_t layers, double dropout, bool train,
                          bool bidirectional, bool batch_first);
TwoTensors rnn_relu_data(const at::Tensor& data, const at::Tensor& batch_sizes,
                         const at::Tensor& state, at::TensorList weights, bool has_biases,
                         std::int64_t layers, double dropout, bool train, bool bidirectional);

// Moves the weights into one buffer, in cuDNN's order, of which they are views from then on.
at::Tensor flatten_recurrent_weights(at::TensorList weights, std::int64_t weights_per_cell,
                                     c10::SymInt input_size, std::int64_t mode,
                                     c10::SymInt hidden_size, c10::SymInt projection_size,
                                     std::int64_t layers, bool batch_first, bool bidirectional);

// _cudnn_rnn_backward: nothing to compute where no result has a gradient.
std::tuple<at::Tensor, at::Tensor, at::Tensor, std::vector<at::Tensor>> recurrent_backward(
    const at::Tensor& input, at::TensorList weights, std::int64_t weights_per_cell,
    const at::Tensor& weight_buffer, const at::Tensor& state, const std::optional<at::Tensor>& cell,
    const at::Tensor& output, const std::optional<at::Tensor>& output_gradient,
    const std::optional<at::Tensor>& state_gradient, const std::optional<at::Tensor>& cell_gradient,
    std::int64_t mode, c10::SymInt hidden_size, c10::SymInt projection_size, std::int64_t layers,
    bool batch_first, double dropout, bool train, bool bidirectional,
    c10::SymIntArrayRef batch_sizes, const std::optional<at::Tensor>& dropout_state,
    const at::Tensor& reserve, std::array<bool, 4> output_mask);

// Under autocast, as on CUDA: cuDNN's networks run in float16, whatever autocast's type.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> autocast_recurrent(
    const at::Tensor& input, at::TensorList weights, std::int64_t weights_per_cell,
    const std::optional<at::Tensor>& weight_buffer, const at::Tensor& state,
    const std::optional<at::Tensor>& cell, std::int64_t mode, c10::SymInt hidden_size,
    c10::SymInt projection_size, std::int64_t layers, bool batch_first, double dropout, bool train,
    bool bidirectional, c10::SymIntArrayRef batch_sizes,
    const std::optional<at::Tensor>& dropout_state);

}  // namespace torch_remote::client
