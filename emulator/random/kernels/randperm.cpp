// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Permutations: numbers in the order of random keys. As many bits of a key count as make equal ones
// rare; where there are some, one thread shuffles what has them.
#include <ATen/Dispatch.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/ops/empty.h>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "emulator/random/kernels/operators.h"
#include "emulator/random/philox.h"

namespace torch_remote::emulator::random {
namespace {

struct Entry {
  std::uint64_t key;
  std::int64_t number;
};

// Stable, by the low bits of the keys, one digit after the other.
void sort_by_bits(std::vector<Entry>& entries, int bits) {
  constexpr int kDigitBits = 11;
  constexpr std::size_t kDigits = std::size_t{1} << kDigitBits;
  std::vector<Entry> sorted(entries.size());
  for (int shift = 0; shift < bits; shift += kDigitBits) {
    const std::uint64_t mask =
        bits - shift < kDigitBits ? (std::uint64_t{1} << (bits - shift)) - 1 : kDigits - 1;
    std::vector<std::size_t> starts(kDigits + 1);
    for (const Entry& entry : entries) ++starts[(entry.key >> shift & mask) + 1];
    for (std::size_t digit = 0; digit < kDigits; ++digit) starts[digit + 1] += starts[digit];
    for (const Entry& entry : entries) sorted[starts[entry.key >> shift & mask]++] = entry;
    entries.swap(sorted);
  }
}

// Thread i shuffles the island of equal keys that begins at i.
void shuffle_islands(std::vector<Entry>& entries, std::uint64_t mask, const Draws& draws) {
  for (std::size_t begin = 0; begin < entries.size();) {
    std::size_t end = begin + 1;
    while (end < entries.size() && (entries[end].key & mask) == (entries[begin].key & mask)) ++end;
    ThreadNumbers numbers(draws.seed, begin, draws.offset());
    for (std::size_t i = end - begin - 1; i > 0; --i) {
      const std::uint32_t other = numbers.next() % static_cast<std::uint32_t>(i + 1);
      std::swap(entries[begin + i].number, entries[begin + other].number);
    }
    begin = end;
  }
}

template <typename Key>
std::vector<Entry> draw_keys(std::int64_t n, int bits,
                             const std::optional<at::Generator>& generator, at::ScalarType dtype) {
  at::Tensor keys = at::empty({n}, at::TensorOptions(dtype));
  random_from_(keys, std::numeric_limits<Key>::min(), std::numeric_limits<Key>::max(), generator);
  // Where all bits count, the sign's is the opposite of an unsigned number's.
  const std::uint64_t flipped =
      bits == std::numeric_limits<Key>::digits + 1 ? std::uint64_t{1} << (bits - 1) : 0;
  std::vector<Entry> entries(static_cast<std::size_t>(n));
  const Key* drawn = keys.const_data_ptr<Key>();
  for (std::size_t i = 0; i < entries.size(); ++i)
    entries[i] = {static_cast<std::uint64_t>(drawn[i]) ^ flipped, static_cast<std::int64_t>(i)};
  return entries;
}

// So many that all keys differ in nine of ten draws.
int key_bits(std::int64_t n) {
  const auto count = static_cast<double>(n);
  const double bits = std::ceil(std::log2(count - (6 * count * count + 1) / (std::log(0.9) * 12)));
  return std::min(64, static_cast<int>(bits));
}

}  // namespace

at::Tensor& randperm_out(std::int64_t n, std::optional<at::Generator> generator, at::Tensor& out) {
  TORCH_CHECK(n >= 0, "n must be non-negative, got", n);
  at::native::check_supported_max_int_with_precision(n, out);
  out.resize_({n});
  if (n == 0) return out;
  PhiloxGenerator& philox = philox_generator(generator);
  const int bits = key_bits(n);
  std::vector<Entry> entries = bits <= 32 ? draw_keys<std::int32_t>(n, bits, generator, at::kInt)
                                          : draw_keys<std::int64_t>(n, bits, generator, at::kLong);
  sort_by_bits(entries, bits);
  const std::uint64_t mask = bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
  shuffle_islands(entries, mask, philox.reserve(static_cast<std::uint64_t>(n)));
  AT_DISPATCH_ALL_TYPES_AND2(at::kHalf, at::kBFloat16, out.scalar_type(), "randperm_out_cuda", [&] {
    auto* numbers = out.mutable_data_ptr<scalar_t>();
    const std::int64_t stride = out.stride(0);
    for (std::size_t i = 0; i < entries.size(); ++i)
      numbers[static_cast<std::int64_t>(i) * stride] = static_cast<scalar_t>(entries[i].number);
  });
  return out;
}

}  // namespace torch_remote::emulator::random
