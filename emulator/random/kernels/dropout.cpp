// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Fused dropout. CUDA's kernel takes as many elements at once as its loads can hold: a thread's
// numbers are then for elements in a row of the memory, and else, one by one, for elements a grid
// apart in row-major order.
#include <ATen/Dispatch.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <tuple>
#include <type_traits>

#include "emulator/random/kernels/fill.h"
#include "emulator/random/kernels/logical_order.h"
#include "emulator/random/kernels/operators.h"

namespace torch_remote::emulator::random {
namespace {

constexpr std::uint64_t kPerDraw = 4;

// How many elements a thread takes at once. Addresses are the device's: its storages begin at
// multiples of 512, whatever ours do.
std::uint64_t vector_size(const at::Tensor& self) {
  if (!self.is_non_overlapping_and_dense()) return 1;
  const auto address = static_cast<std::uint64_t>(self.storage_offset()) * self.element_size();
  std::uint64_t size = 16 / self.element_size();
  while (size > 1 && (address % (size * self.element_size()) != 0 ||
                      static_cast<std::uint64_t>(self.numel()) % size != 0)) {
    size /= 2;
  }
  return size;
}

template <typename Scalar>
using Wide = std::conditional_t<std::is_same_v<Scalar, double>, double, float>;

// One run of elements that are `count` in a row both in x and in the results.
template <typename Scalar>
void drop_row(const Scalar* x, const float* drawn, Wide<Scalar> keep, Wide<Scalar> scale,
              std::size_t count, Scalar* out, std::uint8_t* mask) {
  if constexpr (std::is_same_v<Scalar, float>) {
    drop(x, drawn, keep, scale, count, out, mask);
  } else {
    for (std::size_t i = 0; i < count; ++i) {
      mask[i] = drawn[i] < keep ? 1 : 0;
      out[i] = static_cast<Scalar>(static_cast<Wide<Scalar>>(x[i]) * static_cast<float>(mask[i]) *
                                   scale);
    }
  }
}

// Element e belongs to thread e / size % threads, in its round e / (size * threads).
template <typename Scalar>
void drop_vectors(const Scalar* x, std::uint64_t size, Wide<Scalar> keep, const Cover& covered,
                  const Draws& draws, std::uint64_t element_count, Scalar* out,
                  std::uint8_t* mask) {
  const auto scale = static_cast<Wide<Scalar>>(1.0 / keep);
  const std::uint64_t draws_per_round = (size + kPerDraw - 1) / kPerDraw;
  const std::uint64_t runs_per_round = (covered.threads + kRunMax - 1) / kRunMax;
  const std::uint64_t rounds = (element_count - 1) / (covered.threads * size) + 1;
  const auto do_runs = [&](std::int64_t begin, std::int64_t end) {
    RunBits bits;
    std::array<float, 8 * kRunMax> drawn;
    for (auto run = static_cast<std::uint64_t>(begin); run < static_cast<std::uint64_t>(end);
         ++run) {
      const std::uint64_t round = run / runs_per_round;
      const std::uint64_t thread = run % runs_per_round * kRunMax;
      const std::uint64_t first = (round * covered.threads + thread) * size;
      if (first >= element_count) continue;
      const std::uint64_t threads = std::min<std::uint64_t>(
          {kRunMax, covered.threads - thread, (element_count - first) / size});
      for (std::uint64_t part = 0; part < draws_per_round; ++part) {
        philox_threads(draws.seed, draws.first + round * draws_per_round + part, thread, threads,
                       bits);
        for (std::uint64_t lane = 0; lane < std::min(size, kPerDraw); ++lane) {
          for (std::uint64_t i = 0; i < threads; ++i)
            drawn[i * size + part * kPerDraw + lane] = uniform_float(bits[lane][i]);
        }
      }
      drop_row(x + first, drawn.data(), keep, scale, threads * size, out + first, mask + first);
    }
  };
  at::parallel_for(0, static_cast<std::int64_t>(rounds * runs_per_round), 8, do_runs);
}

template <typename Scalar>
void drop_one_by_one(const at::Tensor& self, Wide<Scalar> keep, const Cover& covered,
                     const Draws& draws, const at::Tensor& result, const at::Tensor& mask) {
  const auto scale = static_cast<Wide<Scalar>>(1.0 / keep);
  const auto element_count = static_cast<std::uint64_t>(self.numel());
  const auto* x = self.const_data_ptr<Scalar>();
  auto* out = result.mutable_data_ptr<Scalar>();
  auto* kept = static_cast<std::uint8_t*>(mask.mutable_data_ptr());
  const LogicalOrder from(self), to(result), to_mask(mask);
  for_each_run(
      covered, draws, element_count,
      [&](std::uint64_t first, const RunBits& bits, std::size_t lanes, std::size_t count) {
        RunValues<float> values;
        UniformFloats::make(bits, lanes, count, values);
        std::array<Scalar, kRunMax> row, dropped;
        std::array<std::uint8_t, kRunMax> flags;
        for (std::size_t lane = 0; lane < lanes; ++lane, first += covered.threads) {
          const std::size_t length = std::min<std::uint64_t>(count, element_count - first);
          from.walk(first, length, [&](std::size_t i, std::int64_t at) { row[i] = x[at]; });
          drop_row(row.data(), values[lane].data(), keep, scale, length, dropped.data(),
                   flags.data());
          to.walk(first, length, [&](std::size_t i, std::int64_t at) { out[at] = dropped[i]; });
          to_mask.walk(first, length, [&](std::size_t i, std::int64_t at) { kept[at] = flags[i]; });
        }
      });
}

std::tuple<at::Tensor, at::Tensor> drop_with_mask(const at::Tensor& self, double keep,
                                                  at::ScalarType mask_dtype,
                                                  PhiloxGenerator& generator) {
  at::Tensor mask = at::empty_like(self, self.options().dtype(mask_dtype));
  if (self.numel() == 0) return {self.clone(), mask};
  at::Tensor result = at::empty_like(self);
  const auto element_count = static_cast<std::uint64_t>(self.numel());
  const Cover covered = cover(generator.card(), element_count, kPerDraw);
  const Draws draws = generator.reserve(covered.offset_increment());
  const std::uint64_t size = vector_size(self);
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, self.scalar_type(), "fused_dropout", [&] {
        const auto kept = static_cast<Wide<scalar_t>>(keep);
        if (size > 1) {
          drop_vectors<scalar_t>(self.const_data_ptr<scalar_t>(), size, kept, covered, draws,
                                 element_count, result.mutable_data_ptr<scalar_t>(),
                                 static_cast<std::uint8_t*>(mask.mutable_data_ptr()));
        } else {
          drop_one_by_one<scalar_t>(self, kept, covered, draws, result, mask);
        }
      });
  return {std::move(result), std::move(mask)};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> native_dropout(const at::Tensor& input, double p,
                                                  std::optional<bool> train,
                                                  PhiloxGenerator& generator) {
  const auto mask_options = input.options().dtype(at::kBool);
  if (train.has_value() && !*train) return {input.clone(), at::ones_like(input, mask_options)};
  if (p == 1) return {at::zeros_like(input), at::zeros_like(input, mask_options)};
  return drop_with_mask(input, 1. - p, at::kBool, generator);
}

std::tuple<at::Tensor, at::Tensor> fused_dropout(const at::Tensor& self, double p,
                                                 std::optional<at::Generator> generator) {
  return drop_with_mask(self, p, at::kByte, philox_generator(generator));
}

}  // namespace torch_remote::emulator::random
