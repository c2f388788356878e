// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Fused attention. The device's operator is one for all (core/client/attention_choice.cpp); which
// kernel CUDA would take (emulator/attention_kernel.h) decides about the memory.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/protocol/tensor_layout.h"
#include "emulator/attention_kernel.h"
#include "emulator/gpu_model.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/library_settings.h"
#include "emulator/workspace/memory_rules.h"
#include "emulator/workspace/memory_script.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::TensorLayout;

constexpr std::uint64_t kFloatBytes = 4;
constexpr std::uint64_t kCudnnWorkspaceBytes = 256;

// Sizes of one call: [batch, heads, length, width] of the query, and of the keys.
struct Shape {
  std::uint64_t batch_heads = 0;
  std::uint64_t length = 0;
  std::uint64_t width = 0;
  std::uint64_t key_length = 0;
  protocol::DataType dtype = kFloat32;
  std::uint64_t query_bytes = 0;
  std::uint64_t key_bytes = 0;
};

bool read_shape(const TensorLayout* query, const TensorLayout* key, Shape& shape) {
  if (query == nullptr || key == nullptr || query->sizes.size() != 4 || key->sizes.size() != 4)
    return false;
  shape = {
      .batch_heads = static_cast<std::uint64_t>(query->sizes[0] * query->sizes[1]),
      .length = static_cast<std::uint64_t>(query->sizes[2]),
      .width = static_cast<std::uint64_t>(query->sizes[3]),
      .key_length = static_cast<std::uint64_t>(key->sizes[2]),
      .dtype = query->dtype,
      .query_bytes = size_bytes(*query),
      .key_bytes = size_bytes(*key),
  };
  return true;
}

AttentionKernel kernel_of(const RuleContext& context, const Shape& shape, bool has_mask) {
  return attention_kernel(
      context.gpu, context.settings.attention,
      {.is_half = is_half(shape.dtype), .width = shape.width, .has_mask = has_mask});
}

// Of FlashAttention 2: how many parts the keys are cut into, so that all multiprocessors have work
// (num_splits_heuristic in flash_api.cpp).
std::uint64_t key_splits(const Shape& shape, const GpuModel& gpu) {
  const std::uint64_t block_keys = shape.width <= 64 ? 256 : (shape.width <= 128 ? 128 : 64);
  const std::uint64_t key_blocks = divide_up(shape.key_length, block_keys);
  const std::uint64_t query_blocks = divide_up(shape.length, 64);
  const std::uint64_t work = shape.batch_heads * query_blocks;
  const auto multiprocessors = static_cast<std::uint64_t>(gpu.multiprocessor_count) * 2;
  if (static_cast<double>(work) >= 0.8 * static_cast<double>(multiprocessors)) return 1;
  const std::uint64_t splits_max = std::min({std::uint64_t{128}, multiprocessors, key_blocks});
  const auto is_eligible = [&](std::uint64_t splits) {
    return splits == 1 || divide_up(key_blocks, splits) != divide_up(key_blocks, splits - 1);
  };
  const auto efficiency = [&](std::uint64_t splits) {
    const double waves = static_cast<double>(work * splits) / static_cast<double>(multiprocessors);
    return waves / static_cast<double>(divide_up(work * splits, multiprocessors));
  };
  double best = 0;
  for (std::uint64_t splits = 1; splits <= splits_max; ++splits) {
    if (is_eligible(splits)) best = std::max(best, efficiency(splits));
  }
  for (std::uint64_t splits = 1; splits <= splits_max; ++splits) {
    if (is_eligible(splits) && efficiency(splits) >= 0.85 * best) return splits;
  }
  return 1;
}

std::uint64_t rounded_width(std::uint64_t width) { return round_up(width, width <= 128 ? 32 : 64); }

// Outputs of the device's operator: 0 the result, 1 logsumexp, 2 and 3 the generator's seed and
// offset.
void cudnn_forward(const Shape& /*shape*/, ScriptWriter& script) {
  script.output(2);
  script.output(3);
  script.output(0);
  script.output(1);
  script.scratch(kCudnnWorkspaceBytes);
}

void flash_forward(const RuleContext& context, const Shape& shape, ScriptWriter& script) {
  script.output(0);
  script.output(1);
  const std::uint64_t splits = key_splits(shape, context.gpu);
  const std::uint64_t rows = shape.batch_heads * shape.length;
  if (splits > 1) {
    const std::uint32_t statistics = script.allocate(splits * rows * kFloatBytes);
    const std::uint32_t results =
        script.allocate(splits * rows * rounded_width(shape.width) * kFloatBytes);
    script.sized_output(2, 16);  // seed and offset in one tensor
    script.output(3);
    script.free(statistics);
    script.free(results);
  }
  script.sized_output(2, 16);
  script.output(3);
}

// The memory-efficient kernel wants rows of a mask in multiples of eight, and gets a padded copy
// else (ATen/native/transformers/attention.cpp, pad_bias).
std::uint64_t padded_mask_bytes(const TensorLayout* mask) {
  constexpr std::uint64_t kMultiple = 8;
  if (mask == nullptr || mask->sizes.empty() || element_count(*mask) == 0) return 0;
  const auto width = static_cast<std::uint64_t>(mask->sizes.back());
  if (width % kMultiple == 0) return 0;
  return size_bytes(*mask) / width * round_up(width, kMultiple);
}

// (query, key, value, attn_bias, dropout_p, is_causal, return_debug_mask, scale)
void forward(const RuleContext& context, ScriptWriter& script) {
  Shape shape;
  if (!read_shape(context.call.tensor(0), context.call.tensor(1), shape)) return;
  switch (kernel_of(context, shape, context.call.tensor(3) != nullptr)) {
    case AttentionKernel::kCudnn:
      return cudnn_forward(shape, script);
    case AttentionKernel::kFlash:
      return flash_forward(context, shape, script);
    default: {
      const std::uint32_t mask = script.allocate(padded_mask_bytes(context.call.tensor(3)));
      script.output(0);
      // Rows of logsumexp are rounded up to 32 queries. Seed and offset stay on the host.
      script.sized_output(1, shape.batch_heads * round_up(shape.length, 32) * kFloatBytes);
      script.sized_output(2, 0);
      script.sized_output(3, 0);
      script.free(mask);
    }
  }
}

// The gradient of the queries is added up in float32, and each row's product with its gradient.
void cudnn_backward(const Shape& shape, ScriptWriter& script) {
  script.outputs();
  const std::uint64_t rows = shape.batch_heads * shape.length;
  script.scratch(rows * shape.width * kFloatBytes + rows * kFloatBytes + kCudnnWorkspaceBytes);
}

// [batch, length, heads, width] in memory, as the kernel wants it.
bool lies_by_length(const TensorLayout& layout) {
  if (layout.sizes.size() != 4) return false;
  const std::int64_t heads = layout.sizes[1], length = layout.sizes[2], width = layout.sizes[3];
  const std::array<std::int64_t, 4> wanted = {length * heads * width, width, heads * width, 1};
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (layout.sizes[i] != 1 && layout.strides[i] != wanted[i]) return false;
  }
  return true;
}

// The result is laid out as the query is; it and its gradient are copied where that doesn't suit.
void flash_backward(const CallView& call, const Shape& shape, ScriptWriter& script) {
  const auto copied_bytes = [&](std::size_t argument) {
    const TensorLayout* layout = call.tensor(argument);
    return layout != nullptr && !lies_by_length(*layout) ? shape.query_bytes : 0;
  };
  const std::uint32_t gradient = script.allocate(copied_bytes(0));
  const std::uint32_t result = script.allocate(copied_bytes(6));
  script.outputs();
  const std::uint64_t rows = shape.batch_heads * round_up(shape.length, 128);
  const std::uint32_t products = script.allocate(rows * kFloatBytes);
  script.scratch(rows * rounded_width(shape.width) * kFloatBytes);
  script.free(products);
  script.free(result);
  script.free(gradient);
}

// Gradients of queries in float32 in blocks of 128 rows, with 16 bytes of locks for each block of
// the kernel (kernel_backward.h, workspace_size).
std::uint64_t efficient_workspace_bytes(const Shape& shape) {
  const bool is_wide = shape.width > 64;
  const std::uint64_t block_rows = is_half(shape.dtype) && is_wide ? 128 : 64;
  const std::uint64_t rows = round_up(shape.length, 128);
  const std::uint64_t columns = is_wide ? round_up(shape.width, 128) : 64;
  return shape.batch_heads * (rows * columns * kFloatBytes + rows / block_rows * 16);
}

void efficient_backward(const Shape& shape, ScriptWriter& script) {
  script.outputs();
  const std::uint64_t rows_bytes = shape.batch_heads * shape.length * kFloatBytes;
  std::uint32_t products = 0;
  if (is_half(shape.dtype)) {
    products = script.allocate(rows_bytes);
  } else {
    // The kernel doesn't make each row's product with its gradient itself.
    const std::uint32_t elements = script.allocate(shape.query_bytes);
    const std::uint32_t sums = script.allocate(rows_bytes);
    products = script.allocate(rows_bytes);
    script.free(sums);
    script.free(elements);
  }
  const std::uint32_t workspace = script.allocate(efficient_workspace_bytes(shape));
  script.free(products);
  script.free(workspace);
}

// (grad_out, query, key, value, attn_bias, ...) -> (grad_query, grad_key, grad_value, ...)
void backward(const RuleContext& context, ScriptWriter& script) {
  Shape shape;
  if (!read_shape(context.call.tensor(1), context.call.tensor(2), shape)) return;
  switch (kernel_of(context, shape, context.call.tensor(4) != nullptr)) {
    case AttentionKernel::kCudnn:
      return cudnn_backward(shape, script);
    case AttentionKernel::kFlash:
      return flash_backward(context.call, shape, script);
    default:
      return efficient_backward(shape, script);
  }
}

constexpr std::array kRules = std::to_array<NamedRule>({
    {"_scaled_dot_product_fused_attention_overrideable", forward},
    {"_scaled_dot_product_fused_attention_overrideable_backward", backward},
});

}  // namespace

std::span<const NamedRule> attention_rules() { return kRules; }

}  // namespace torch_remote::emulator::workspace
