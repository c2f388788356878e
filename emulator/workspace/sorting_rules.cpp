// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Sorting, selecting, scanning and drawing: ATen/native/cuda/{Sort,SortStable,TensorTopK,Sorting,
// ScanKernels,Randperm,MultinomialKernel,SummaryOps}.cu* and CUB (cub_scratch.h).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/protocol/tensor_layout.h"
#include "emulator/gpu_model.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/cub_scratch.h"
#include "emulator/workspace/memory_rules.h"
#include "emulator/workspace/memory_script.h"
#include "emulator/workspace/reduction_staging.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::TensorLayout;

constexpr std::uint64_t kIndexBytes = 8;
constexpr std::uint64_t kInt32Bytes = 4;
constexpr std::uint64_t kPairBytes = 16;  // a value with its index
// Rows up to this length are sorted in place, by a block each.
constexpr std::uint64_t kSmallSortItems = 4096;
// Fewer rows than this are sorted as one, with their row as a second key.
constexpr std::uint64_t kFullSortRows = 128;

struct Rows {
  std::uint64_t count = 1;
  std::uint64_t length = 1;
  std::uint64_t item_size_bytes = 1;
  bool is_last = true;  // a row lies in one piece

  std::uint64_t items() const { return count * length; }
};

Rows rows_of(const TensorLayout& layout, std::int64_t dimension) {
  Rows rows;
  rows.item_size_bytes = protocol::data_type_size_bytes(layout.dtype);
  if (layout.sizes.empty()) return rows;
  const std::size_t wrapped = wrapped_dimension(dimension, layout);
  rows.length = static_cast<std::uint64_t>(layout.sizes[wrapped]);
  rows.count = rows.length == 0 ? 0 : element_count(layout) / rows.length;
  rows.is_last = layout.strides[wrapped] == 1 && is_contiguous(layout);
  return rows;
}

void sort_one_row(const Rows& rows, ScriptWriter& script) {
  const std::uint32_t numbers = script.allocate(rows.length * kIndexBytes);
  script.scratch(radix_sort_bytes(rows.length, rows.item_size_bytes, kIndexBytes));
  script.free(numbers);
}

// Keys with their row and place as one value, sorted by key and then by row.
void sort_rows_as_one(const Rows& rows, ScriptWriter& script) {
  constexpr std::uint64_t kPlaceBytes = 8;
  const std::uint32_t places = script.allocate(rows.items() * kPlaceBytes);
  const std::uint32_t sorted_places = script.allocate(rows.items() * kPlaceBytes);
  const std::uint32_t keys = script.allocate(rows.items() * rows.item_size_bytes);
  script.scratch(radix_sort_bytes(rows.items(), rows.item_size_bytes, kPlaceBytes));
  script.free(keys);
  script.scratch(radix_sort_bytes(rows.items(), kPlaceBytes, 0, /*digit_bytes=*/1));
  script.free(sorted_places);
  script.free(places);
}

void sort_rows_by_segments(const Rows& rows, ScriptWriter& script) {
  const std::uint32_t numbers = script.allocate(rows.items() * kIndexBytes);
  script.scratch(rows.items() * (rows.item_size_bytes + kIndexBytes));
  script.free(numbers);
}

void sort_rows(const Rows& rows, ScriptWriter& script) {
  script.outputs();
  if (rows.items() == 0) return;
  if (rows.length <= kSmallSortItems) {
    // The numbers of the places, spread over the indices.
    script.scratch(rows.length * kIndexBytes);
  } else if (rows.count == 1) {
    sort_one_row(rows, script);
  } else {
    // Rows that don't lie in one piece are laid so, and their results.
    const std::uint64_t values_bytes = rows.is_last ? 0 : rows.items() * rows.item_size_bytes;
    const std::uint64_t indices_bytes = rows.is_last ? 0 : rows.items() * kIndexBytes;
    const std::uint32_t values = script.allocate(values_bytes);
    const std::uint32_t sorted_values = script.allocate(values_bytes);
    const std::uint32_t indices = script.allocate(indices_bytes);
    rows.count < kFullSortRows ? sort_rows_as_one(rows, script)
                               : sort_rows_by_segments(rows, script);
    script.free(indices);
    script.free(sorted_values);
    script.free(values);
  }
}

// sort(self, dim, descending), sort.stable(self, stable, dim, descending), argsort likewise.
template <std::size_t kDimension, bool kHasValues>
void sort(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  if (input == nullptr) return;
  const Rows rows = rows_of(*input, context.call.integer(kDimension, -1));
  const std::uint32_t values = script.allocate(kHasValues ? 0 : size_bytes(*input));
  sort_rows(rows, script);
  script.free(values);
}

// Several blocks a row count digits where rows are few and long (should_use_multiblock in
// TensorTopK.cu).
bool spreads_rows(const Rows& rows) {
  struct Limit {
    std::uint64_t rows_max;
    std::uint64_t length_min;
  };
  constexpr std::array<Limit, 6> kLimits = {
      {{20, 20000}, {40, 10000}, {80, 8000}, {199, 5000}, {799, 3000}, {4000, 800}}};
  for (const Limit& limit : kLimits) {
    if (rows.count <= limit.rows_max) return rows.length >= limit.length_min;
  }
  return rows.length >= 400;
}

// Items of a row that a block takes: as many as let all blocks run at once, 4 to 64 a thread.
std::uint64_t top_block_items(const Rows& rows, const GpuModel& gpu) {
  constexpr std::uint64_t kThreads = 256, kRegistersPerThread = 40, kBlocksMax = 32;
  const std::uint64_t blocks = std::min(
      static_cast<std::uint64_t>(kRegistersPerMultiprocessor) / (kRegistersPerThread * kThreads),
      kBlocksMax);
  const std::uint64_t at_once =
      static_cast<std::uint64_t>(gpu.multiprocessor_count) * blocks * kThreads;
  const std::uint64_t items = divide_up(rows.items(), at_once);
  return kThreads * std::clamp<std::uint64_t>(items, 4, 64);
}

// topk(self, k, dim, largest, sorted)
void top(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  script.outputs();
  if (input == nullptr) return;
  const Rows rows = rows_of(*input, context.call.integer(2, -1));
  if (rows.items() == 0 || !spreads_rows(rows)) return;
  constexpr std::uint64_t kDigits = 256, kCounterBytes = 2;
  const std::uint64_t blocks =
      divide_up(rows.length, top_block_items(rows, context.gpu)) * rows.count;
  const std::uint32_t kept[] = {
      script.allocate(rows.count * rows.item_size_bytes),
      script.allocate(rows.count * kIndexBytes),
      script.allocate(rows.count * kIndexBytes),
      script.allocate(blocks * kDigits * kCounterBytes),
      script.allocate(rows.count * kDigits * kInt32Bytes),
      script.allocate(blocks * kInt32Bytes),
      script.allocate(blocks * kInt32Bytes),
  };
  for (int scan = 0; scan < 2; ++scan) script.scratch(scan_by_key_bytes(blocks));
  for (std::size_t i = std::size(kept); i-- > 0;) script.free(kept[i]);
}

// median(self): a sort, and where the values that are no numbers begin.
void median(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  if (input == nullptr) return;
  const Rows rows{.length = element_count(*input),
                  .item_size_bytes = protocol::data_type_size_bytes(input->dtype)};
  const std::uint32_t values = script.allocate(size_bytes(*input));
  const std::uint32_t indices = script.allocate(rows.length * kIndexBytes);
  const std::uint32_t numbers = script.allocate(rows.length * kIndexBytes);
  if (rows.length > kSmallSortItems)
    script.scratch(radix_sort_bytes(rows.length, rows.item_size_bytes, kIndexBytes));
  script.free(numbers);
  script.free(indices);
  const std::uint32_t is_number = script.allocate(1);
  script.output(0);
  script.free(is_number);
  script.free(values);
}

// Of one row of `items`, by CUB.
void scan_row(std::uint64_t items, std::uint64_t item_bytes, ScriptWriter& script) {
  script.scratch(item_bytes > kInt32Bytes ? scan_by_key_bytes(items)
                                          : scan_bytes(items, kCumsumTileItems));
}

// cumsum(self, dim) and its like: only a tensor of one row is scanned by CUB.
void scan(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  const TensorLayout* output = context.call.result(0);
  script.outputs();
  if (input == nullptr || input->sizes.empty()) return;
  const std::uint64_t items = element_count(*input);
  const std::size_t dimension = wrapped_dimension(context.call.integer(1, 0), *input);
  if (items == 0 || static_cast<std::uint64_t>(input->sizes[dimension]) != items) return;
  scan_row(items, protocol::data_type_size_bytes((output == nullptr ? input : output)->dtype),
           script);
}

// repeat_interleave(repeats): where each number begins, and whether one is negative.
void repeat_each(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* repeats = context.call.tensor(0);
  if (repeats == nullptr || element_count(*repeats) == 0) return;
  const std::uint64_t items = element_count(*repeats);
  const std::uint32_t sums = script.allocate(items * kIndexBytes);
  scan_row(items, kIndexBytes, script);
  const std::uint32_t are_negative = script.allocate(items);
  script.scratch(1);
  script.free(are_negative);
  script.free(sums);
}

void stage_all(const RuleContext& context, const TensorLayout& layout,
               std::uint64_t accumulator_size_bytes, ScriptWriter& script) {
  const ReductionStaging staging = reduction_staging(
      layout, {}, {.accumulator_size_bytes = accumulator_size_bytes}, context.gpu);
  const std::uint32_t parts = script.allocate(staging.parts_bytes);
  script.scratch(staging.semaphores_bytes);
  script.free(parts);
}

// A random key for each number, of so many bits that equal ones are rare, and a sort by them.
void random_permutation(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* output = context.call.result(0);
  script.outputs();
  if (output == nullptr) return;
  const std::uint64_t count = element_count(*output);
  if (count < 2) return;
  const auto n = static_cast<double>(count);
  const double threshold = 12 * std::log(0.9);
  const double bits = std::min(64.0, std::ceil(std::log2(n - (6 * n * n + 1) / threshold)));
  const std::uint64_t key_bytes = bits <= 32 ? kInt32Bytes : kIndexBytes;
  script.scratch(kIndexBytes);
  const std::uint32_t numbers = script.allocate(size_bytes(*output));
  const std::uint32_t keys = script.allocate(count * key_bytes);
  const std::uint32_t sorted_keys = script.allocate(count * key_bytes);
  script.scratch(radix_sort_bytes(count, key_bytes, protocol::data_type_size_bytes(output->dtype),
                                  static_cast<std::uint64_t>(std::ceil(bits / 8))));
  script.free(sorted_keys);
  script.free(keys);
  script.free(numbers);
}

// One number of the whole tensor, for a check on the host.
std::uint32_t number_of_all(const RuleContext& context, const TensorLayout& layout,
                            ScriptWriter& script) {
  const std::uint64_t item_bytes = protocol::data_type_size_bytes(layout.dtype);
  const std::uint32_t number = script.allocate(item_bytes);
  stage_all(context, layout, item_bytes, script);
  return number;
}

void least_and_greatest(const RuleContext& context, const TensorLayout& layout,
                        ScriptWriter& script) {
  for (int i = 0; i < 2; ++i) script.free(number_of_all(context, layout, script));
}

// histc(self, bins, min, max): without bounds those of the values.
void histogram(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  script.outputs();
  if (input != nullptr && element_count(*input) != 0) least_and_greatest(context, *input, script);
}

// bincount(self, weights, minlength): how many there are is known on the host first.
void count_integers(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  if (input != nullptr && element_count(*input) != 0) least_and_greatest(context, *input, script);
}

// multinomial(self, num_samples, replacement): one sample is the largest of the probabilities over
// exponential random numbers; several with replacement come from the sums of a sorted row.
void multinomial(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  script.outputs();
  if (input == nullptr) return;
  const std::uint64_t bytes = size_bytes(*input);
  if (context.call.boolean(2, false) && context.call.integer(1, 2) != 1) {
    const std::uint32_t norms = script.allocate(bytes);
    const std::uint32_t sums = script.allocate(bytes);
    const std::uint32_t normed = script.allocate(bytes);
    script.scratch(scan_bytes(element_count(*input), kCumsumTileItems));
    script.free(normed);
    script.free(sums);
    script.free(norms);
    return;
  }
  // Checked first: all are finite and none is negative, and each row has some chance.
  const std::uint32_t largest = number_of_all(context, *input, script);
  const std::uint32_t is_finite = script.allocate(1);
  const std::uint32_t smallest = number_of_all(context, *input, script);
  const std::uint32_t is_positive = script.allocate(1);
  const std::uint32_t is_valid = script.allocate(1);
  script.free(is_positive);
  script.free(smallest);
  script.free(is_finite);
  script.free(largest);
  const std::uint64_t rows =
      input->sizes.size() == 2 ? static_cast<std::uint64_t>(input->sizes[0]) : 1;
  const std::uint32_t sums = script.allocate(rows * protocol::data_type_size_bytes(input->dtype));
  if (rows == 1) stage_all(context, *input, protocol::data_type_size_bytes(input->dtype), script);
  const std::uint32_t are_zero = script.allocate(rows);
  script.free(sums);
  const std::uint32_t has_zero = script.allocate(1);
  script.free(are_zero);
  const std::uint32_t quotients = script.allocate(bytes);
  if (rows == 1) stage_all(context, *input, kPairBytes, script);
  script.free(quotients);
  script.free(has_zero);
  script.free(is_valid);
}

constexpr std::array kRules = std::to_array<NamedRule>({
    {"sort", sort<1, true>},
    {"sort.stable", sort<2, true>},
    {"argsort", sort<1, false>},
    {"argsort.stable", sort<2, false>},
    {"topk", top},
    {"median", median},
    {"nanmedian", median},
    {"cumsum", scan},
    {"cumprod", scan},
    {"logcumsumexp", scan},
    {"_logcumsumexp", scan},
    {"_cumsum", scan},
    {"repeat_interleave.Tensor", repeat_each},
    {"randperm", random_permutation},
    {"histc", histogram},
    {"bincount", count_integers},
    {"multinomial", multinomial},
});

}  // namespace

std::span<const NamedRule> sorting_rules() { return kRules; }

}  // namespace torch_remote::emulator::workspace
