// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Indexing: ATen/native/cuda/{Nonzero,Indexing,Embedding,EmbeddingBackwardKernel,Unique}.cu.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/protocol/tensor_layout.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/cub_scratch.h"
#include "emulator/workspace/memory_rules.h"
#include "emulator/workspace/memory_script.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::TensorLayout;

constexpr std::uint64_t kIndexBytes = 8;
constexpr std::uint64_t kCountBytes = 4;

// The count, and the places of what isn't zero. The places come when the count is known.
void places_of(const TensorLayout& input, const RuleContext& context, ScriptWriter& script) {
  const std::uint64_t items = element_count(input);
  if (items == 0) return;
  const std::uint32_t count = script.allocate(kCountBytes);
  script.scratch(device_reduce_bytes(items, kCountBytes, context.gpu));
  script.scratch(scan_bytes(items, kSelectTileItems));
  script.free(count);
}

void nonzero(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  if (input != nullptr) places_of(*input, context, script);
}

// A mask becomes the places where it holds.
template <std::size_t kMask>
void nonzero_of_mask(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* mask = context.call.tensor(kMask);
  if (mask != nullptr) places_of(*mask, context, script);
}

void index(const RuleContext& context, ScriptWriter& script) {
  for (const TensorLayout* index : context.call.tensors(1)) {
    if (index->dtype == kBool) places_of(*index, context, script);
  }
}

// Bits that hold a row's number, in whole bytes: what a sort by rows looks at.
std::uint64_t digit_bytes_of(std::uint64_t rows) {
  std::uint64_t bytes = 1;
  while (bytes < kIndexBytes && (rows >> (8 * bytes)) != 0) ++bytes;
  return bytes;
}

// index_put(self, indices, values, accumulate): with accumulate the indices are sorted, so that
// equal ones are added up by one block.
void index_put(const RuleContext& context, ScriptWriter& script) {
  script.outputs();
  const TensorLayout* self = context.call.tensor(0);
  const auto indices = context.call.tensors(1);
  if (self == nullptr || indices.empty() || !context.call.boolean(3, false)) return;
  std::uint64_t places = 0;
  for (const TensorLayout* index : indices) {
    if (index->dtype == kBool) return;
    places = std::max(places, element_count(*index));
  }
  if (places == 0) return;
  // The least and the greatest index are looked at.
  for (int bound = 0; bound < 2 && !indices.empty(); ++bound) {
    const std::uint32_t value = script.allocate(kIndexBytes);
    script.scratch(1);
    script.free(value);
  }
  const std::uint64_t bytes = places * kIndexBytes;
  const std::uint32_t linear = script.allocate(bytes);
  script.scratch(bytes);
  const std::uint32_t sorted = script.allocate(bytes);
  const std::uint32_t original = script.allocate(bytes);
  const std::uint32_t numbers = script.allocate(bytes);
  std::uint64_t rows = 1;
  for (std::size_t i = 0; i < indices.size() && i < self->sizes.size(); ++i)
    rows *= static_cast<std::uint64_t>(self->sizes[i]);
  script.scratch(radix_sort_bytes(places, kIndexBytes, kIndexBytes, digit_bytes_of(rows)));
  script.free(numbers);
  script.free(original);
  script.free(sorted);
  script.free(linear);
}

// embedding_dense_backward(grad_output, indices, num_weights, padding_idx, scale_grad_by_freq): up
// to 3072 indices are added one by one; more are sorted, and rows are added up in parts of ten.
void embedding_backward(const RuleContext& context, ScriptWriter& script) {
  constexpr std::uint64_t kUnsortedIndices = 3072, kRowsOfPart = 10;
  const TensorLayout* gradient = context.call.tensor(0);
  const TensorLayout* indices = context.call.tensor(1);
  if (gradient == nullptr || indices == nullptr || gradient->sizes.empty()) return;
  const std::uint64_t count = element_count(*indices);
  const bool is_unsorted = count <= kUnsortedIndices && context.call.integer(3, -1) < 0 &&
                           !context.call.boolean(4, false);
  if (count == 0 || is_unsorted) return;
  const std::uint64_t index_bytes = protocol::data_type_size_bytes(indices->dtype);
  const std::uint64_t bytes = count * index_bytes;
  const std::uint32_t sorted = script.allocate(bytes);
  const std::uint32_t original = script.allocate(bytes);
  const std::uint32_t numbers = script.allocate(bytes);
  script.scratch(radix_sort_bytes(count, index_bytes, index_bytes));
  script.free(numbers);
  script.outputs();
  // Where equal indices begin, how many there are, and where their parts begin.
  const std::uint32_t segments = script.allocate(bytes);
  const std::uint32_t segment_count = script.allocate(kIndexBytes);
  const std::uint32_t unique = script.allocate(bytes);
  script.scratch(scan_by_key_bytes(count));
  script.free(unique);
  const std::uint32_t parts = script.allocate(bytes);
  const std::uint32_t part_offsets = script.allocate(bytes);
  script.scratch(scan_by_key_bytes(count));
  const auto rows =
      static_cast<std::uint64_t>(std::max<std::int64_t>(context.call.integer(2, 0), 0));
  const std::uint64_t parts_max = count / kRowsOfPart + std::min(count, rows == 0 ? count : rows);
  const std::uint32_t part_count = script.allocate(kIndexBytes);
  const std::uint32_t part_rows = script.allocate(parts_max * index_bytes);
  const auto width = static_cast<std::uint64_t>(gradient->sizes.back());
  script.scratch(parts_max * width * accumulation_size_bytes(gradient->dtype));
  script.free(part_rows);
  script.free(part_count);
  script.free(part_offsets);
  script.free(parts);
  script.free(segment_count);
  script.free(segments);
  script.free(original);
  script.free(sorted);
}

constexpr std::array kRules = std::to_array<NamedRule>({
    {"nonzero", nonzero},
    {"masked_select", nonzero_of_mask<1>},
    {"index.Tensor", index},
    {"index_put", index_put},
    {"index_put_", index_put},
    {"_index_put_impl_", index_put},
    {"embedding_dense_backward", embedding_backward},
});

}  // namespace

std::span<const NamedRule> indexing_rules() { return kRules; }

}  // namespace torch_remote::emulator::workspace
