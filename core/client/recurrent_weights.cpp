// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/recurrent_weights.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_cudnn_rnn.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/util/Exception.h>
#include <cstddef>

#include "core/client/recurrent_networks.h"

namespace torch_remote::client {
namespace {

// Where each weight begins in the buffer, in elements, and how many there are in all.
struct Places {
  std::vector<std::int64_t> offsets;
  std::int64_t element_count = 0;
};

// Of a cell's weights, from its number of them: whether the one at this position is a bias.
bool is_bias(std::int64_t position, std::int64_t weights_per_cell) {
  return weights_per_cell >= 4 && (position == 2 || position == 3);
}

Places places_of(at::TensorList weights, std::int64_t weights_per_cell) {
  TORCH_CHECK(weights_per_cell >= 2 && weights_per_cell <= 5, "a cell has 2 to 5 weights, not ",
              weights_per_cell);
  Places places{.offsets = std::vector<std::int64_t>(weights.size())};
  for (const bool biases : {false, true}) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const std::int64_t position = static_cast<std::int64_t>(i) % weights_per_cell;
      if (is_bias(position, weights_per_cell) != biases) continue;
      places.offsets[i] = places.element_count;
      places.element_count += weights[i].numel();
    }
  }
  return places;
}

}  // namespace

at::Tensor find_weight_buffer(at::TensorList weights, std::int64_t weights_per_cell) {
  const Places places = places_of(weights, weights_per_cell);
  const at::Tensor& first = weights[0];
  const std::size_t size_bytes =
      static_cast<std::size_t>(places.element_count) * first.element_size();
  if (!first.has_storage() || first.storage().nbytes() < size_bytes) return {};
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const at::Tensor& weight = weights[i];
    if (!weight.has_storage() || !weight.storage().is_alias_of(first.storage()) ||
        weight.scalar_type() != first.scalar_type() || !weight.is_contiguous() ||
        weight.storage_offset() != places.offsets[i])
      return {};
  }
  const at::NoGradGuard no_gradients;
  return first.detach().as_strided({places.element_count}, {1}, 0);
}

FlatWeights copy_to_weight_buffer(at::TensorList weights, std::int64_t weights_per_cell,
                                  at::ScalarType dtype) {
  const Places places = places_of(weights, weights_per_cell);
  FlatWeights flat{.buffer = at::zeros({places.element_count}, weights[0].options().dtype(dtype)),
                   .weights = {}};
  flat.weights.reserve(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    // No view for autograd: the buffer itself is no result of the weights.
    at::Tensor place = flat.buffer.detach()
                           .narrow(0, places.offsets[i], weights[i].numel())
                           .view_as(weights[i])
                           .detach();
    place.copy_(weights[i]);
    flat.weights.push_back(std::move(place));
  }
  return flat;
}

at::Tensor flatten_recurrent_weights(at::TensorList weights, std::int64_t weights_per_cell,
                                     c10::SymInt /*input_size*/, std::int64_t /*mode*/,
                                     c10::SymInt /*hidden_size*/, c10::SymInt /*projection_size*/,
                                     std::int64_t /*layers*/, bool /*batch_first*/,
                                     bool /*bidirectional*/) {
  TORCH_CHECK(!weights.empty(), "_cudnn_rnn_flatten_weight_: cannot flatten empty weight list");
  FlatWeights flat = copy_to_weight_buffer(weights, weights_per_cell, weights[0].scalar_type());
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i].set_(flat.weights[i]);
  return flat.buffer;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> autocast_recurrent(
    const at::Tensor& input, at::TensorList weights, std::int64_t weights_per_cell,
    const std::optional<at::Tensor>& weight_buffer, const at::Tensor& state,
    const std::optional<at::Tensor>& cell, std::int64_t mode, c10::SymInt hidden_size,
    c10::SymInt projection_size, std::int64_t layers, bool batch_first, double dropout, bool train,
    bool bidirectional, c10::SymIntArrayRef batch_sizes,
    const std::optional<at::Tensor>& dropout_state) {
  constexpr auto kDevice = c10::DeviceType::PrivateUse1;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::DispatchKey::AutocastPrivateUse1);
  const auto is_cast = [](const at::Tensor& tensor) {
    return tensor.scalar_type() != at::kHalf && at::autocast::is_eligible(tensor, kDevice);
  };
  const auto half = [&](const at::Tensor& tensor) {
    return at::autocast::cached_cast(at::kHalf, tensor, kDevice);
  };
  FlatWeights flat{.buffer = weight_buffer.value_or(at::Tensor()), .weights = weights.vec()};
  if (is_cast(flat.buffer.defined() ? flat.buffer : weights[0]))
    flat = copy_to_weight_buffer(weights, weights_per_cell, at::kHalf);
  return at::_cudnn_rnn_symint(
      half(input), flat.weights, weights_per_cell, flat.buffer, half(state),
      cell && cell->defined() ? std::optional(half(*cell)) : cell, mode, std::move(hidden_size),
      std::move(projection_size), layers, batch_first, dropout, train, bidirectional, batch_sizes,
      dropout_state);
}

}  // namespace torch_remote::client
