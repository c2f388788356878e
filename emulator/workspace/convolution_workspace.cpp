// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/workspace/convolution_workspace.h"

#include <algorithm>

#include "emulator/gpu_model.h"
#include "emulator/workspace/call_view.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::TensorLayout;

constexpr std::uint64_t kFloatBytes = 4;
// What a kernel keeps for itself: counters of a few tiles.
constexpr std::uint64_t kCountersBytes = 131;
constexpr std::uint64_t kAlignmentBytes = 16;
// The tile of a product that a block computes, its results in float32, and the most parts that a
// gradient is cut into.
constexpr std::uint64_t kTileRows = 128;
constexpr std::uint64_t kTileBytes = kTileRows * kTileRows * kFloatBytes;
constexpr std::uint64_t kPartsMax = 14;

// Whether kernels for tensor cores compute it: half types from Volta on, float32 as TF32 from
// Ampere on where the program allows it.
bool uses_tensor_cores(const RuleContext& context, protocol::DataType dtype) {
  if (is_half(dtype)) return dtype == kFloat16 || context.gpu.capability_major >= 8;
  return dtype == kFloat32 && context.gpu.capability_major >= 8 &&
         context.settings.allows_convolution_tf32;
}

bool is_depthwise(const Convolution& convolution) {
  return convolution.groups > 1 && convolution.groups == convolution.input->sizes[1];
}

// Which of the three products of a convolution.
enum class Product : std::uint8_t { kOutput, kInputGradient, kWeightGradient };

// The tensor as kernels read it: half types with four channels at least, for gradients of inputs
// eight; float32 for gradients of weights four.
std::uint64_t copy_bytes(const TensorLayout& tensor, Product product) {
  const auto channels = static_cast<std::uint64_t>(tensor.sizes[1]);
  std::uint64_t multiple = 1;
  if (is_half(tensor.dtype)) {
    multiple = product == Product::kInputGradient ? 8 : 4;
  } else if (product == Product::kWeightGradient) {
    multiple = 4;
  }
  return size_bytes(tensor) / channels * round_up(channels, multiple);
}

bool has_aligned_channels(const Convolution& convolution) {
  const std::uint64_t element_bytes = protocol::data_type_size_bytes(convolution.input->dtype);
  const auto channels = static_cast<std::uint64_t>(convolution.input->sizes[1]);
  return channels * element_bytes % kAlignmentBytes == 0;
}

// Copies of tensors whose layout or number of channels doesn't suit the kernels.
std::uint64_t copies_bytes(const Convolution& convolution, Product product) {
  const bool is_last = is_channels_last_call(convolution);
  if (is_last && has_aligned_channels(convolution)) return 0;
  std::uint64_t bytes = copy_bytes(*convolution.input, product);
  if (!convolution.is_pointwise) bytes += copy_bytes(*convolution.weight, product);
  const bool is_full_float = !is_half(convolution.input->dtype);
  if (!is_last || (is_full_float && product != Product::kOutput))
    bytes += size_bytes(*convolution.result);
  return bytes + kAlignmentBytes;
}

// The tiles that are left over when all multiprocessors have had equally many: where two or more
// multiprocessors are there for each, they share it, and all parts are kept. Else the parts of
// eight tiles are finished by their own multiprocessors. Short sums (a few steps of 32) are shared
// by half as many, and by a quarter where no whole round goes before.
std::uint64_t shared_tiles(std::uint64_t tiles, std::uint64_t sum_length,
                           std::uint64_t multiprocessors) {
  constexpr std::uint64_t kGroup = 8, kShortSum = 64 * 32;
  const std::uint64_t left_over = tiles % multiprocessors;
  if (left_over == 0) return 0;
  if (multiprocessors / left_over >= 2) return multiprocessors / left_over * left_over;
  const std::uint64_t groups = std::max<std::uint64_t>(left_over / kGroup, 1) - 1;
  if (sum_length >= kShortSum) return groups * kGroup;
  return groups * kGroup / (tiles < multiprocessors ? 4 : 2);
}

// Output and input gradient in float32, in tiles of [pixels, channels]. For the output, tiles that
// are a little fewer than multiprocessors, or up to twice as many, leave tiles over. Of a gradient,
// tiles that are about as many as multiprocessors are shared out so that all end together, which
// leaves about ten unfinished ones for eleven multiprocessors, and where they leave four of ten
// multiprocessors idle, they are made in three parts.
std::uint64_t shared_tiles_bytes(const TensorLayout& written, Product product,
                                 const Convolution& convolution, const GpuModel& gpu) {
  if (is_half(written.dtype) || is_channels_last_call(convolution)) return 0;
  const auto channels = static_cast<std::uint64_t>(written.sizes[1]);
  if (channels < kTileRows / 2) return 0;
  const std::uint64_t pixels = element_count(written) / channels;
  const std::uint64_t tiles = divide_up(pixels, kTileRows) * divide_up(channels, kTileRows);
  const auto multiprocessors = static_cast<std::uint64_t>(gpu.multiprocessor_count);
  const bool fills_once = tiles * 20 >= multiprocessors * 19;
  if (product == Product::kOutput) {
    if (convolution.is_pointwise || !fills_once || tiles >= 2 * multiprocessors) return 0;
    const std::uint64_t sum_length = element_count(*convolution.weight) / channels;
    return shared_tiles(tiles, sum_length, multiprocessors) * kTileBytes;
  }
  if (convolution.is_strided) return 0;
  if (tiles * 10 <= multiprocessors * 6) return 3 * tiles * kTileBytes;
  return fills_once && tiles <= multiprocessors ? multiprocessors * 10 / 11 * kTileBytes : 0;
}

// Where sums are short, a copy of the result would cost as much as they do: a kernel in float32
// that has whole tiles of channels writes it as it is to lie, and has no counters.
bool writes_in_place(const Convolution& convolution) {
  constexpr std::uint64_t kShortSum = 8 * kTileRows;
  const TensorLayout& result = *convolution.result;
  const auto channels = static_cast<std::uint64_t>(result.sizes[1]);
  return !is_half(result.dtype) && !is_channels_last_call(convolution) &&
         !convolution.is_pointwise && channels >= kTileRows &&
         element_count(*convolution.weight) / channels < kShortSum;
}

// Of a 1x1 weight's gradient: a part for so many pixels. In float32 each image is a part where the
// tensors are read as they lie, and a weight of one tile has a part for each multiprocessor where
// they are copied.
std::uint64_t pointwise_parts(const Convolution& convolution, std::uint64_t pixels, bool is_narrow,
                              std::uint64_t tiles, std::uint64_t multiprocessors) {
  constexpr std::uint64_t kPixelsOfPart = 4096, kPixelsOfFloatPart = 1024;
  if (is_narrow) return std::min(pixels / kPixelsOfPart, multiprocessors);
  if (is_channels_last_call(convolution)) return multiprocessors;
  if (!convolution.is_strided)
    return std::min(static_cast<std::uint64_t>(convolution.input->sizes[0]), multiprocessors);
  return tiles == 1 ? multiprocessors : std::min(pixels / kPixelsOfFloatPart, multiprocessors);
}

// The weight's gradient is a product of [channels out, pixels] and [pixels, channels in * kernel].
// Where its tiles are too few for the multiprocessors, the pixels are cut into parts, of which each
// is a weight; half types leave two multiprocessors to a tile. About one tile for each is shared
// out so that all end together, which leaves unfinished tiles.
std::uint64_t parts_bytes(const Convolution& convolution, const GpuModel& gpu) {
  const TensorLayout& weight = *convolution.weight;
  const auto rows = static_cast<std::uint64_t>(weight.sizes[0]);
  const std::uint64_t columns = element_count(weight) / rows;
  const std::uint64_t tiles = divide_up(rows, kTileRows) * divide_up(columns, kTileRows);
  const auto multiprocessors = static_cast<std::uint64_t>(gpu.multiprocessor_count);
  const bool is_narrow = is_half(weight.dtype);
  const std::uint64_t part_bytes = copy_bytes(weight, Product::kWeightGradient) /
                                   protocol::data_type_size_bytes(weight.dtype) * kFloatBytes;
  if (convolution.is_pointwise) {
    const std::uint64_t pixels = element_count(*convolution.result) / rows;
    const std::uint64_t parts =
        pointwise_parts(convolution, pixels, is_narrow, tiles, multiprocessors);
    return parts <= 1 ? 0 : parts * part_bytes;
  }
  if (tiles >= multiprocessors)
    return !is_narrow && tiles < multiprocessors * 3 / 2 ? multiprocessors * kTileBytes : 0;
  if (tiles >= multiprocessors / 2) return multiprocessors / 2 * kTileBytes;
  // A few channels make a weight so small that there is a part for each multiprocessor.
  const bool is_tiny = !is_narrow && !has_aligned_channels(convolution);
  const std::uint64_t parts =
      is_tiny ? multiprocessors
              : std::min(kPartsMax, multiprocessors / (tiles * (is_narrow ? 2 : 1)));
  return parts <= 1 ? 0 : std::min(parts * part_bytes, multiprocessors * kTileBytes);
}

}  // namespace

bool is_channels_last_call(const Convolution& convolution) {
  return is_channels_last(*convolution.input) || is_channels_last(*convolution.weight);
}

std::uint64_t forward_workspace_bytes(const RuleContext& context, const Convolution& convolution) {
  if (!uses_tensor_cores(context, convolution.input->dtype) || is_depthwise(convolution)) return 0;
  // 1x1 kernels that leave pixels out copy tensors whose channels fill a tile.
  const bool thins_out = convolution.is_pointwise && convolution.is_strided &&
                         !is_channels_last_call(convolution) &&
                         static_cast<std::uint64_t>(convolution.input->sizes[1]) >= kTileRows;
  if (convolution.is_patchwise && !thins_out) return 0;
  if (writes_in_place(convolution))
    return copies_bytes(convolution, Product::kOutput) - size_bytes(*convolution.result);
  return copies_bytes(convolution, Product::kOutput) + kCountersBytes +
         shared_tiles_bytes(*convolution.result, Product::kOutput, convolution, context.gpu);
}

std::uint64_t input_gradient_workspace_bytes(const RuleContext& context,
                                             const Convolution& convolution) {
  if (!uses_tensor_cores(context, convolution.input->dtype) || is_depthwise(convolution)) return 0;
  if (convolution.is_pointwise || convolution.is_patchwise) return 0;
  return copies_bytes(convolution, Product::kInputGradient) + kCountersBytes +
         shared_tiles_bytes(*convolution.input, Product::kInputGradient, convolution, context.gpu);
}

std::uint64_t weight_gradient_workspace_bytes(const RuleContext& context,
                                              const Convolution& convolution) {
  if (!uses_tensor_cores(context, convolution.input->dtype) || is_depthwise(convolution)) return 0;
  const std::uint64_t bytes = kCountersBytes + parts_bytes(convolution, context.gpu);
  if (convolution.is_pointwise && !convolution.is_strided) return bytes;
  return bytes + copies_bytes(convolution, Product::kWeightGradient);
}

}  // namespace torch_remote::emulator::workspace
