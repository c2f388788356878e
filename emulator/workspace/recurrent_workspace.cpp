// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/workspace/recurrent_workspace.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace torch_remote::emulator::workspace {
namespace {

using protocol::RecurrentKind;
using protocol::RecurrentNetwork;

constexpr std::uint64_t kBytesPerCell = 8U << 20U;  // cuBLAS's, a cell has a stream of its own
constexpr std::uint64_t kHeadBytes = 256, kBytesPerSequence = 8, kAlignment = 32;

// How many values there are for each row of the input, beside the input's own, and for each
// sequence and cell.
struct Copies {
  std::uint64_t hidden_per_row = 0;
  std::uint64_t input_per_row = 0;
  std::uint64_t hidden_per_sequence_and_cell = 0;
  std::uint64_t hidden_per_sequence = 0;  // beside those of cells
};

// In the order of RecurrentKind's numbers: relu, tanh, LSTM, GRU.
struct OfKinds {
  std::uint64_t plain, lstm, gru;
  std::uint64_t of(RecurrentKind kind) const {
    if (kind == RecurrentKind::kLstm) return lstm;
    return kind == RecurrentKind::kGru ? gru : plain;
  }
};

Copies forward_copies(const RecurrentNetwork& network, bool persistent) {
  struct Row {
    OfKinds rows, cells;
  };
  constexpr Row kPersistent[] = {{{6, 21, 16}, {4, 8, 4}}, {{12, 30, 24}, {5, 9, 5}}};
  constexpr Row kPlain[] = {{{2, 5, 4}, {3, 10, 5}}, {{8, 14, 12}, {5, 12, 7}}};
  const Row& row = (persistent ? kPersistent : kPlain)[network.direction_count - 1];
  return {.hidden_per_row = row.rows.of(network.kind),
          .input_per_row = 1,
          .hidden_per_sequence_and_cell = row.cells.of(network.kind)};
}

// Layers overlap in one direction alone: so many steps of a chunk are under way.
std::uint64_t chunk_steps(const RecurrentNetwork& network) {
  if (network.layer_count == 1) return network.step_count;
  return std::min<std::uint64_t>(network.step_count, network.layer_count == 2 ? 16 : 20);
}

Copies backward_copies(const RecurrentNetwork& network, bool persistent) {
  const bool both = network.direction_count == 2, is_deep = network.layer_count > 1;
  Copies copies{.input_per_row = 2};
  if (persistent) {
    copies.hidden_per_row = (both ? 19 + (is_deep ? 2 : 0) : 13 + (is_deep ? 1 : 0)) +
                            OfKinds{0, 3, 5}.of(network.kind);
    copies.hidden_per_sequence_and_cell = OfKinds{6, 12, 6}.of(network.kind) + (both ? 1 : 0);
  } else {
    copies.hidden_per_row = both ? 10 + (is_deep ? 2 : 0) : 3;
    copies.hidden_per_sequence_and_cell = OfKinds{5, 11, 5}.of(network.kind) + (both ? 2 : 0);
    copies.hidden_per_sequence = both ? 0 : chunk_steps(network);
  }
  return copies;
}

std::uint64_t elements(const Copies& copies, const RecurrentNetwork& network) {
  return network.row_count * (copies.hidden_per_row * network.hidden_size +
                              copies.input_per_row * network.input_size) +
         network.batch_size * network.hidden_size *
             (copies.hidden_per_sequence_and_cell * network.cell_count() +
              copies.hidden_per_sequence);
}

}  // namespace

bool keeps_state_on_chip(const RecurrentNetwork& network, protocol::DataType dtype) {
  const std::uint64_t hidden_size_max = gate_count(network.kind) == 1 ? 256 : 64;
  return dtype != kBfloat16 && network.hidden_size <= hidden_size_max;
}

std::uint64_t recurrent_workspace_bytes(const RecurrentNetwork& network, protocol::DataType dtype,
                                        bool trains) {
  const bool persistent = keeps_state_on_chip(network, dtype);
  Copies forward = forward_copies(network, persistent);
  std::uint64_t count = elements(forward, network);
  if (trains) {
    const bool keeps_dropped = network.has_dropout && network.layer_count > 1 &&
                               network.direction_count == 1 && gate_count(network.kind) > 1;
    if (keeps_dropped) count += network.row_count * network.hidden_size;
    count = std::max(count, elements(backward_copies(network, persistent), network));
  }
  RecurrentNetwork matrices = network;
  matrices.has_biases = false;
  return network.cell_count() * kBytesPerCell +
         weight_element_count(matrices) * network.element_size_bytes +
         round_up(count * network.element_size_bytes + network.batch_size * kBytesPerSequence +
                      kHeadBytes,
                  kAlignment);
}

RecurrentNetwork read_recurrent_network(const CallView& call, std::size_t state, std::size_t mode) {
  const protocol::TensorLayout* input = call.tensor(0);
  const protocol::TensorLayout* hidden = call.tensor(state);
  const std::int64_t kind = call.integer(mode, 0);
  if (input == nullptr || input->sizes.size() < 2 || hidden == nullptr ||
      hidden->sizes.size() != 3 || !protocol::is_recurrent_kind(kind))
    return {};
  const auto unsigned_of = [](std::int64_t value) { return static_cast<std::uint64_t>(value); };
  const std::vector<std::int64_t> batch_sizes = call.integers(mode + 8);
  const bool is_packed = !batch_sizes.empty();
  const std::uint64_t batch = unsigned_of(hidden->sizes[1]);
  const std::uint64_t rows =
      is_packed ? unsigned_of(input->sizes[0]) : unsigned_of(input->sizes[0] * input->sizes[1]);
  return {.kind = static_cast<RecurrentKind>(kind),
          .layer_count = unsigned_of(call.integer(mode + 3, 1)),
          .direction_count = call.boolean(mode + 7, false) ? 2U : 1U,
          .input_size = unsigned_of(input->sizes.back()),
          .hidden_size = unsigned_of(call.integer(mode + 1, hidden->sizes[2])),
          .projection_size = unsigned_of(call.integer(mode + 2, 0)),
          .batch_size = batch,
          .step_count = is_packed ? batch_sizes.size() : (batch == 0 ? 0 : rows / batch),
          .row_count = rows,
          .element_size_bytes = protocol::data_type_size_bytes(input->dtype),
          .has_biases = call.integer(2, 4) >= 4,
          .has_dropout = call.number(mode + 5, 0) > 0};
}

}  // namespace torch_remote::emulator::workspace
