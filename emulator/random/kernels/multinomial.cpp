// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Samples of categories. Without replacement, or one alone, PyTorch draws exponential numbers and
// takes the best of the weights' quotients; with replacement, one number is looked up in the sums.
#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/multinomial_native.h>
#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#include "emulator/random/kernels/operators.h"
#include "emulator/random/philox.h"
#include "emulator/random/transforms.h"

namespace torch_remote::emulator::random {
namespace {

constexpr std::int64_t kBlock = 128;
constexpr std::int64_t kRowsMax = 65535;  // of a grid

// Adds as a warp of threads does: each what is `offset` lanes above.
template <typename Scalar>
Scalar sum_of_warp(std::array<Scalar, 32> lanes) {
  for (std::size_t offset = 16; offset > 0; offset /= 2) {
    for (std::size_t i = 0; i + offset < 32; ++i)
      lanes[i] = static_cast<Scalar>(lanes[i] + lanes[i + offset]);
  }
  return lanes[0];
}

// The sum of a row as a block of threads has it, in the scalar's own precision.
template <typename Scalar>
Scalar sum_of_block(const Scalar* row, std::int64_t count) {
  const std::int64_t threads = std::min<std::int64_t>(1024, 32 * ((count + 31) / 32));
  std::array<Scalar, 32> sums{};
  for (std::int64_t warp = 0; warp < threads / 32; ++warp) {
    std::array<Scalar, 32> lanes{};
    for (std::int64_t lane = 0; lane < 32; ++lane) {
      Scalar sum = 0;
      for (std::int64_t i = warp * 32 + lane; i < count; i += threads)
        sum = static_cast<Scalar>(sum + row[i]);
      lanes[static_cast<std::size_t>(lane)] = sum;
    }
    sums[static_cast<std::size_t>(warp)] = sum_of_warp(lanes);
  }
  return sum_of_warp(sums);
}

// The share of each category and the sums up to it. CUDA adds in a tree, with less rounding than
// one after the other.
template <typename Scalar>
struct Row {
  std::vector<Scalar> shares;
  std::vector<Scalar> sums;

  Row(const Scalar* weights, std::int64_t count) : shares(weights, weights + count) {
    const Scalar total = sum_of_block(weights, count);
    if (total > static_cast<Scalar>(0)) {
      for (Scalar& share : shares) share = static_cast<Scalar>(share / total);
    }
    double sum = 0;
    sums.reserve(shares.size());
    for (const Scalar share : shares) {
      sum += static_cast<double>(share);
      sums.push_back(static_cast<Scalar>(sum));
    }
    TORCH_CHECK(sums.back() > static_cast<Scalar>(0),
                "invalid multinomial distribution (sum of probabilities <= 0)");
  }

  std::int64_t choose(Scalar drawn) const {
    auto chosen =
        std::min<std::int64_t>(std::lower_bound(sums.begin(), sums.end(), drawn) - sums.begin(),
                               static_cast<std::int64_t>(sums.size()) - 1);
    while (chosen >= 1 && shares[static_cast<std::size_t>(chosen)] == static_cast<Scalar>(0))
      --chosen;
    return chosen;
  }
};

template <typename Scalar>
void sample(const at::Tensor& weights, std::int64_t sample_count, const Draws& draws,
            std::int64_t* out) {
  const std::int64_t rows = weights.size(0), categories = weights.size(1);
  const std::int64_t threads_per_row = ((sample_count - 1) / kBlock + 1) * kBlock;
  const std::int64_t grid_rows = std::min(rows, kRowsMax);
  for (std::int64_t r = 0; r < rows; ++r) {
    const Row<Scalar> row(weights.const_data_ptr<Scalar>() + r * categories, categories);
    for (std::int64_t s = 0; s < sample_count; ++s) {
      const Bits4 bits = philox(draws.seed, draws.first + static_cast<std::uint64_t>(r / grid_rows),
                                static_cast<std::uint64_t>(r % grid_rows * threads_per_row + s));
      out[r * sample_count + s] = row.choose(static_cast<Scalar>(uniform_float(bits[0])));
    }
  }
}

void check_weights(const at::Tensor& weights) {
  const auto highest = weights.max().item<double>(), lowest = weights.min().item<double>();
  const bool is_valid = highest < std::numeric_limits<double>::infinity() && lowest >= 0;
  TORCH_CHECK(is_valid, "probability tensor contains either `inf`, `nan` or element < 0");
}

}  // namespace

at::Tensor& multinomial_out(const at::Tensor& self, std::int64_t sample_count, bool replacement,
                            std::optional<at::Generator> generator, at::Tensor& out) {
  // PyTorch's own function draws with the generator, and so finds the exponential numbers here. It
  // also has the checks, and refuses before it draws.
  const bool has_weights = self.dim() > 0 && self.dim() <= 2 &&
                           at::isFloatingType(self.scalar_type()) && self.size(-1) > 0 &&
                           self.size(-1) <= (1 << 24);
  if (!replacement || sample_count <= 1 || !has_weights || out.scalar_type() != at::kLong)
    return at::native::multinomial_out(self, sample_count, replacement, std::move(generator), out);
  if (self.dim() == 1) {
    out.resize_({sample_count});
  } else {
    out.resize_({self.size(0), sample_count});
  }
  if (out.numel() == 0) return out;
  check_weights(self);
  const at::Tensor weights = self.contiguous().view({-1, self.size(-1)});
  const auto rounds =
      static_cast<std::uint64_t>((weights.size(0) - 1) / std::min(weights.size(0), kRowsMax) + 1);
  const Draws draws = philox_generator(generator).reserve(rounds * 4);
  const at::Tensor samples = out.is_contiguous() ? out : at::empty(out.sizes(), out.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, weights.scalar_type(), "multinomial_kernel_cuda", [&] {
        sample<scalar_t>(weights, sample_count, draws, samples.mutable_data_ptr<std::int64_t>());
      });
  if (!out.is_contiguous()) out.copy_(samples);
  return out;
}

at::Tensor multinomial(const at::Tensor& self, std::int64_t sample_count, bool replacement,
                       std::optional<at::Generator> generator) {
  at::Tensor out = at::empty({0}, self.options().dtype(at::kLong));
  return multinomial_out(self, sample_count, replacement, std::move(generator), out);
}

}  // namespace torch_remote::emulator::random
