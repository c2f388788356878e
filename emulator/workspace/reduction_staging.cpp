// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/workspace/reduction_staging.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <tuple>
#include <vector>

#include "core/protocol/tensor_layout.h"
#include "emulator/gpu_model.h"
#include "emulator/workspace/call_view.h"

namespace torch_remote::emulator::workspace {
namespace {

constexpr std::uint64_t kBlockThreads = 512;
constexpr std::uint64_t kComplexDoubleBlockThreads = 256;
constexpr std::uint64_t kVector = 4;
constexpr std::uint64_t kMinValuesPerThread = 16;
constexpr std::uint64_t kMaxValuesPerThread = 256;
constexpr protocol::DataType kComplex128 = 10;

struct Dimension {
  std::uint64_t size = 1;
  std::uint64_t stride = 0;
  bool is_reduced = false;
};

// As PyTorch's iterator walks: the reduced dimensions first, each group by stride, neighbours that
// lie behind each other joined.
std::vector<Dimension> walked_dimensions(const protocol::TensorLayout& layout,
                                         std::span<const std::int64_t> dimensions) {
  std::vector<Dimension> walked(layout.sizes.size());
  for (std::size_t i = 0; i < walked.size(); ++i) {
    walked[i] = {static_cast<std::uint64_t>(layout.sizes[i]),
                 static_cast<std::uint64_t>(layout.strides[i]), dimensions.empty()};
  }
  for (const std::int64_t dimension : dimensions) {
    if (!walked.empty()) walked[wrapped_dimension(dimension, layout)].is_reduced = true;
  }
  std::erase_if(walked, [](const Dimension& dimension) { return dimension.size == 1; });
  std::ranges::stable_sort(walked, {}, [](const Dimension& dimension) {
    return std::tuple(!dimension.is_reduced, dimension.stride);
  });
  std::vector<Dimension> joined;
  for (const Dimension& dimension : walked) {
    Dimension* last = joined.empty() ? nullptr : &joined.back();
    if (last != nullptr && last->is_reduced == dimension.is_reduced &&
        last->stride * last->size == dimension.stride) {
      last->size *= dimension.size;
    } else {
      joined.push_back(dimension);
    }
  }
  return joined;
}

// How many neighbouring outputs a thread loads at once.
std::uint64_t output_vector(const std::vector<Dimension>& walked, std::size_t first_output) {
  std::uint64_t vector = kVector;
  const auto fit = [&vector](std::uint64_t value) {
    while (value % vector != 0) vector /= 2;
  };
  fit(walked[first_output].size);
  for (std::size_t i = 0; i < walked.size(); ++i) {
    if (i != first_output) fit(walked[i].stride);
  }
  return vector;
}

struct Block {
  std::uint64_t width = 1;
  std::uint64_t height = 1;
};

Block block_of(std::uint64_t width_work, std::uint64_t height_work, std::uint64_t threads,
               std::uint64_t warp) {
  const std::uint64_t width_max =
      std::min(std::bit_floor(std::max<std::uint64_t>(width_work, 1)), threads);
  const std::uint64_t height_max =
      std::min(std::bit_floor(std::max<std::uint64_t>(height_work, 1)), threads);
  Block block;
  block.width = std::min(width_max, warp);
  block.height = std::min(height_max, threads / block.width);
  block.width = std::min(width_max, threads / block.height);
  return block;
}

}  // namespace

ReductionStaging reduction_staging(const protocol::TensorLayout& layout,
                                   std::span<const std::int64_t> dimensions,
                                   const Reduction& reduction, const GpuModel& gpu) {
  const std::vector<Dimension> walked = walked_dimensions(layout, dimensions);
  std::uint64_t inputs = 1, outputs = 1;
  for (const Dimension& dimension : walked)
    (dimension.is_reduced ? inputs : outputs) *= dimension.size;
  if (inputs * outputs == 0 || walked.empty()) return {};

  const auto first_output =
      static_cast<std::size_t>(std::ranges::count_if(walked, &Dimension::is_reduced));
  const bool is_inner = first_output == walked.size() ||
                        (first_output > 0 && walked[0].stride < walked[first_output].stride);
  std::uint64_t width_work = is_inner ? inputs : outputs;
  const std::uint64_t height_work = is_inner ? outputs : inputs;
  std::uint64_t vector = 1;
  if (walked[is_inner ? 0 : first_output].stride == 1) {
    if (is_inner && width_work > 128 && walked.size() == 1 &&
        reduction.values_under_way >= kVector) {
      width_work /= kVector;
    } else if (!is_inner) {
      vector = output_vector(walked, first_output);
      width_work /= vector;
    }
  }
  const std::uint64_t threads =
      (layout.dtype == kComplex128 ? kComplexDoubleBlockThreads : kBlockThreads) / vector;
  const Block block =
      block_of(width_work, height_work, threads, static_cast<std::uint64_t>(gpu.warp_size));

  std::uint64_t input_step = is_inner ? block.width : 1;
  std::uint64_t output_step = is_inner ? 1 : block.width;
  const auto values_per_thread = [&] { return divide_up(inputs, input_step); };
  if (values_per_thread() < std::min(block.height * kMinValuesPerThread, kMaxValuesPerThread))
    return {};  // each warp has outputs of its own
  input_step *= block.height;

  const std::uint64_t target_grid =
      static_cast<std::uint64_t>(gpu.multiprocessor_count) *
      (static_cast<std::uint64_t>(gpu.max_threads_per_multiprocessor) /
       (block.width * block.height));
  const std::uint64_t grid = divide_up(outputs / vector, output_step);
  if (values_per_thread() < kMaxValuesPerThread || grid > target_grid) return {};
  const std::uint64_t blocks_per_output = std::max(
      std::min(divide_up(target_grid, grid), divide_up(values_per_thread(), kMinValuesPerThread)),
      divide_up(values_per_thread(), kMaxValuesPerThread));
  if (blocks_per_output <= 1) return {};
  const std::uint64_t parts_per_output = is_inner ? 1 : block.width * vector;
  return {reduction.accumulator_size_bytes * outputs * blocks_per_output * parts_per_output,
          sizeof(std::int32_t) * grid};
}

}  // namespace torch_remote::emulator::workspace
