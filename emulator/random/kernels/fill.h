// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the kernels have in common that fill a tensor, as at::native's distribution_nullary_kernel
// does on CUDA: a grid of threads walks over the elements in the order of their strides.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/native/TensorIterator.h>
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "emulator/random/kernels/generator.h"
#include "emulator/random/philox.h"
#include "emulator/random/transforms.h"

namespace torch_remote::emulator::random {

// Calls take(first_element, bits, lane_count, count) for each run of threads: number i of thread k
// of the run is for the element first_element + i * cover.threads + k. Runs are taken by several
// threads at once. lane_count is how many numbers have an element at all.
template <typename Take>
void for_each_run(const Cover& cover, const Draws& draws, std::uint64_t element_count,
                  const Take& take) {
  const std::uint64_t runs_per_draw = (cover.threads + kRunMax - 1) / kRunMax;
  const auto do_runs = [&](std::int64_t begin, std::int64_t end) {
    RunBits bits;
    for (std::int64_t run = begin; run < end; ++run) {
      const std::uint64_t draw = static_cast<std::uint64_t>(run) / runs_per_draw;
      const std::uint64_t thread = static_cast<std::uint64_t>(run) % runs_per_draw * kRunMax;
      const std::uint64_t first = draw * cover.threads * cover.per_draw + thread;
      if (first >= element_count) continue;
      const std::uint64_t lanes =
          std::min(cover.per_draw, (element_count - 1 - first) / cover.threads + 1);
      std::uint64_t count = std::min<std::uint64_t>(kRunMax, cover.threads - thread);
      if (lanes == 1) count = std::min(count, element_count - first);
      philox_threads(draws.seed, draws.first + draw, thread, count, bits);
      take(first, bits, lanes, count);
    }
  };
  constexpr std::int64_t kGrain = 16;  // runs, so that a thread is worth its start
  at::parallel_for(0, static_cast<std::int64_t>(cover.draws * runs_per_draw), kGrain, do_runs);
}

// Writes elements of a tensor in the order in which a TensorIterator of one operand walks.
class OrderedOutput {
 public:
  explicit OrderedOutput(at::TensorIteratorBase& iterator)
      : data_(static_cast<std::byte*>(iterator.data_ptr(0))),
        sizes_(iterator.shape()),
        strides_(iterator.strides(0)),
        is_dense_(iterator.ndim() <= 1 &&
                  (iterator.numel() == 1 || strides_.empty() ||
                   strides_[0] == static_cast<std::int64_t>(iterator.element_size(0)))) {}

  bool is_dense() const { return is_dense_; }
  template <typename Scalar>
  Scalar* dense() const {
    return reinterpret_cast<Scalar*>(data_);
  }

  template <typename Scalar>
  void scatter(std::uint64_t first, const Scalar* values, std::size_t count) const {
    std::array<std::int64_t, 64> index{};
    std::int64_t offset = 0;
    auto rest = static_cast<std::int64_t>(first);
    for (std::size_t d = 0; d < sizes_.size(); ++d) {
      index[d] = rest % sizes_[d];
      rest /= sizes_[d];
      offset += index[d] * strides_[d];
    }
    for (std::size_t i = 0; i < count; ++i) {
      *reinterpret_cast<Scalar*>(data_ + offset) = values[i];
      for (std::size_t d = 0; d < sizes_.size(); ++d) {
        offset += strides_[d];
        if (++index[d] < sizes_[d]) break;
        offset -= strides_[d] * sizes_[d];
        index[d] = 0;
      }
    }
  }

 private:
  std::byte* data_;
  at::IntArrayRef sizes_;
  at::IntArrayRef strides_;
  bool is_dense_;
};

// ---- from bits to values ----
// Each has the type of its values, how many of them a draw gives, and makes those of a run:
// make(bits, lane_count, count, values).

template <typename Value>
using RunValues = std::array<std::array<Value, kRunMax>, 4>;

struct Bits32 {
  using Value = std::uint32_t;
  static constexpr std::uint64_t kPerDraw = 4;
  static void make(const RunBits& bits, std::size_t lanes, std::size_t count,
                   RunValues<Value>& values) {
    for (std::size_t lane = 0; lane < lanes; ++lane)
      std::copy_n(bits[lane].begin(), count, values[lane].begin());
  }
};

// Of two words of 32 bits each, as join() makes one of them.
template <typename Joined, Joined (*join)(std::uint32_t, std::uint32_t)>
struct Joined64 {
  using Value = Joined;
  static constexpr std::uint64_t kPerDraw = 2;
  static void make(const RunBits& bits, std::size_t lanes, std::size_t count,
                   RunValues<Value>& values) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      for (std::size_t i = 0; i < count; ++i)
        values[lane][i] = join(bits[2 * lane][i], bits[2 * lane + 1][i]);
    }
  }
};

using Bits64 = Joined64<std::uint64_t, &bits64>;
using UniformDoubles = Joined64<double, &uniform_double>;

struct UniformFloats {
  using Value = float;
  static constexpr std::uint64_t kPerDraw = 4;
  static void make(const RunBits& bits, std::size_t lanes, std::size_t count,
                   RunValues<Value>& values) {
    for (std::size_t lane = 0; lane < lanes; ++lane)
      uniform_floats(bits[lane].data(), count, values[lane].data());
  }
};

struct NormalFloats {
  using Value = float;
  static constexpr std::uint64_t kPerDraw = 4;
  static void make(const RunBits& bits, std::size_t lanes, std::size_t count,
                   RunValues<Value>& values) {
    normal_floats(bits[0].data(), bits[1].data(), count, values[0].data(), values[1].data());
    if (lanes > 2)
      normal_floats(bits[2].data(), bits[3].data(), count, values[2].data(), values[3].data());
  }
};

struct NormalDoubles {
  using Value = double;
  static constexpr std::uint64_t kPerDraw = 2;
  static void make(const RunBits& bits, std::size_t, std::size_t count, RunValues<Value>& values) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto wide = [&](std::size_t lane) {
        return std::uint64_t{bits[lane][i]} ^ std::uint64_t{bits[lane + 1][i]} << 21;
      };
      normal_pair(wide(0), wide(2), values[0][i], values[1][i]);
    }
  }
};

// ---- filling ----

// Fills the iterator's output with transform(values, count, out), which makes elements of values.
template <typename Scalar, typename Source, typename Transform>
void fill(at::TensorIteratorBase& iterator, PhiloxGenerator& generator, Source source,
          const Transform& transform) {
  const auto element_count = static_cast<std::uint64_t>(iterator.numel());
  if (element_count == 0) return;
  const Cover covered = cover(generator.card(), element_count, Source::kPerDraw);
  const Draws draws = generator.reserve(covered.offset_increment());
  if (!iterator.can_use_32bit_indexing()) {
    // As on CUDA: what was reserved for the whole stays unused, and each part takes its own.
    for (auto& part : iterator.with_32bit_indexing())
      fill<Scalar>(part, generator, source, transform);
    return;
  }
  const OrderedOutput output(iterator);
  for_each_run(covered, draws, element_count,
               [&](std::uint64_t first, const RunBits& bits, std::size_t lanes, std::size_t count) {
                 RunValues<typename Source::Value> values;
                 Source::make(bits, lanes, count, values);
                 for (std::size_t lane = 0; lane < lanes; ++lane, first += covered.threads) {
                   const std::size_t length = std::min<std::uint64_t>(count, element_count - first);
                   if (output.is_dense()) {
                     transform(values[lane].data(), length, output.dense<Scalar>() + first);
                   } else {
                     std::array<Scalar, kRunMax> elements;
                     transform(values[lane].data(), length, elements.data());
                     output.scatter(first, elements.data(), length);
                   }
                 }
               });
}

// A transform of one value after the other.
template <typename Scalar, typename One>
auto one_by_one(One one) {
  return [one](const auto* values, std::size_t count, Scalar* out) {
    for (std::size_t i = 0; i < count; ++i) out[i] = one(values[i]);
  };
}

}  // namespace torch_remote::emulator::random
