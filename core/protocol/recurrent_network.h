// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// aten::_cudnn_rnn's numbers that client, executor and emulator have to agree on: of gates, of
// weights in cuDNN's one buffer, and of the bytes that the forward keeps for the backward, which
// only an executor that isn't cuDNN has to make up.
#pragma once

#include <cstdint>

namespace torch_remote::protocol {

// PyTorch's and cuDNN's numbers of the kinds.
enum class RecurrentKind : std::uint8_t { kRelu = 0, kTanh = 1, kLstm = 2, kGru = 3 };

constexpr bool is_recurrent_kind(std::int64_t number) { return number >= 0 && number <= 3; }

// Matrices of a cell, side by side in its weights.
constexpr std::uint64_t gate_count(RecurrentKind kind) {
  switch (kind) {
    case RecurrentKind::kLstm:
      return 4;
    case RecurrentKind::kGru:
      return 3;
    default:
      return 1;
  }
}

struct RecurrentNetwork {
  RecurrentKind kind = RecurrentKind::kTanh;
  std::uint64_t layer_count = 1;
  std::uint64_t direction_count = 1;  // 2: bidirectional
  std::uint64_t input_size = 0;
  std::uint64_t hidden_size = 0;
  std::uint64_t projection_size = 0;  // 0: none
  std::uint64_t batch_size = 0;       // sequences
  std::uint64_t step_count = 0;       // the longest sequence's
  std::uint64_t row_count = 0;        // steps of all sequences together
  std::uint64_t element_size_bytes = 4;
  bool has_biases = true;
  bool has_dropout = false;  // between layers

  constexpr std::uint64_t cell_count() const { return layer_count * direction_count; }
  constexpr std::uint64_t output_size() const {  // of a direction
    return projection_size == 0 ? hidden_size : projection_size;
  }
};

// Elements of the buffer with all weights: the matrices of all cells, then the biases.
constexpr std::uint64_t weight_element_count(const RecurrentNetwork& network) {
  const std::uint64_t rows = gate_count(network.kind) * network.hidden_size;
  std::uint64_t count = 0;
  for (std::uint64_t layer = 0; layer < network.layer_count; ++layer) {
    const std::uint64_t inputs =
        layer == 0 ? network.input_size : network.output_size() * network.direction_count;
    count += network.direction_count *
             (rows * (inputs + network.output_size() + (network.has_biases ? 2 : 0)) +
              network.projection_size * network.hidden_size);
  }
  return count;
}

// What a training forward keeps, as cuDNN 9.19 on an H200 told it for 476 networks, all of them to
// the byte: for each cell and row five tensors of an LSTM (its gates and its state), six of a GRU,
// one of a plain network; the outputs of all layers but the last; a bit for each element that
// dropout looked at, once for each direction; and a head. A projection was not among them: its
// outputs are counted where the hidden state is otherwise.
constexpr std::uint64_t reserve_size_bytes(const RecurrentNetwork& network) {
  constexpr std::uint64_t kHead = 256, kAlignment = 32;
  const auto aligned = [](std::uint64_t size) {
    return (size + kAlignment - 1) / kAlignment * kAlignment;
  };
  const std::uint64_t kept_tensors = network.kind == RecurrentKind::kLstm  ? 5
                                     : network.kind == RecurrentKind::kGru ? 6
                                                                           : 1;
  const std::uint64_t directions = network.direction_count;
  const std::uint64_t inner_layers = network.layer_count - 1;
  const std::uint64_t outputs = network.row_count * network.output_size() * directions;
  std::uint64_t size = kHead;
  size += aligned(network.cell_count() * kept_tensors * network.row_count * network.hidden_size *
                  network.element_size_bytes);
  size += aligned(inner_layers * outputs * network.element_size_bytes);
  if (network.has_dropout) size += inner_layers * directions * aligned((outputs + 7) / 8);
  return size;
}

}  // namespace torch_remote::protocol
