// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Unique values, and what is made of them: ATen/native/cuda/Unique.cu and CUB (cub_scratch.h).
#include <array>
#include <cmath>
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

// Results of unique with room for all values, to be freed.
struct UniqueResults {
  std::uint32_t values = 0;
  std::uint32_t counts = 0;
  std::uint32_t inverse = 0;

  void free(ScriptWriter& script) const {
    script.free(counts);
    script.free(values);
    script.free(inverse);
  }
};

// The sorted values, where equal ones begin, and the results (ATen/native/cuda/Unique.cu).
UniqueResults make_unique(const TensorLayout& input, bool has_inverse, bool has_counts,
                          ScriptWriter& script) {
  const std::uint64_t count = element_count(input);
  const std::uint64_t key_bytes = protocol::data_type_size_bytes(input.dtype);
  const std::uint64_t index_bytes = count * kIndexBytes;
  UniqueResults results;
  const std::uint32_t sorted = script.allocate(count * key_bytes);
  const std::uint32_t order = script.allocate(has_inverse ? index_bytes : 0);
  if (has_inverse) {
    const std::uint32_t numbers = script.allocate(index_bytes);
    script.scratch(radix_sort_bytes(count, key_bytes, kIndexBytes));
    script.free(numbers);
  } else {
    script.scratch(radix_sort_bytes(count, key_bytes, 0));
  }
  results.inverse = script.allocate(has_inverse ? index_bytes : 0);
  if (has_inverse) {
    const std::uint32_t segments = script.allocate(index_bytes);
    script.scratch(scan_bytes(count, kScanOfFlagsTileItems));
    script.free(segments);
  }
  results.values = script.allocate(count * key_bytes);
  const std::uint32_t value_count = script.allocate(kIndexBytes);
  results.counts = script.allocate(has_counts ? index_bytes : 0);
  script.scratch(scan_bytes(count, has_counts ? kRunLengthTileItems : kSelectTileItems));
  script.free(value_count);
  script.free(order);
  script.free(sorted);
  return results;
}

// _unique2(self, sorted, return_inverse, return_counts). The session tells of the results when
// their sizes are known.
void unique(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  if (input == nullptr || element_count(*input) == 0) return;
  make_unique(*input, context.call.boolean(2, false), context.call.boolean(3, false), script)
      .free(script);
}

// isin(elements, test_elements): every element with every other where these are few, else what is
// unique in both, sorted together (ATen/native/TensorCompare.cpp).
void is_in(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* elements = context.call.tensor(0);
  const TensorLayout* tests = context.call.tensor(1);
  script.outputs();
  if (elements == nullptr || tests == nullptr) return;
  const std::uint64_t count = element_count(*elements), test_count = element_count(*tests);
  if (count == 0 || test_count == 0) return;
  if (static_cast<double>(test_count) < 10 * std::pow(static_cast<double>(count), 0.145)) {
    const std::uint32_t are_equal = script.allocate(count * test_count);
    script.scratch(count);
    script.free(are_equal);
    return;
  }
  const UniqueResults first = make_unique(*elements, true, false, script);
  const UniqueResults second = make_unique(*tests, false, false, script);
  second.free(script);
  script.scratch(count);
  first.free(script);
}

void unique_neighbours(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* input = context.call.tensor(0);
  if (input == nullptr || element_count(*input) == 0) return;
  const std::uint32_t values = script.allocate(size_bytes(*input));
  const std::uint32_t value_count = script.allocate(kIndexBytes);
  script.scratch(scan_bytes(element_count(*input), kSelectTileItems));
  script.free(value_count);
  script.free(values);
}

constexpr std::array kRules = std::to_array<NamedRule>({
    {"_unique2", unique},
    {"_unique", unique},
    {"unique_consecutive", unique_neighbours},
    {"isin.Tensor_Tensor", is_in},
});

}  // namespace

std::span<const NamedRule> unique_rules() { return kRules; }

}  // namespace torch_remote::emulator::workspace
