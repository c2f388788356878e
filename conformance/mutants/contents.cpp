// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "conformance/mutants/contents.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

namespace torch_remote::mutants {
namespace {

using protocol::DataType;
using protocol::TensorLayout;

// PyTorch's ScalarType numbers, as on the wire.
constexpr DataType kFloat16Type = 5, kFloat32Type = 6, kFloat64Type = 7, kComplex32Type = 8,
                   kComplex64Type = 9, kComplex128Type = 10, kBoolType = 11, kBfloat16Type = 15;

// How a real number is laid out, of which a complex one has two.
struct FloatFormat {
  unsigned size_bytes;
  unsigned mantissa_bits;
};

std::optional<FloatFormat> float_format(DataType type) {
  switch (type) {
    case kFloat16Type:
    case kComplex32Type:
      return FloatFormat{2, 10};
    case kBfloat16Type:
      return FloatFormat{2, 7};
    case kFloat32Type:
    case kComplex64Type:
      return FloatFormat{4, 23};
    case kFloat64Type:
    case kComplex128Type:
      return FloatFormat{8, 52};
    default:
      return std::nullopt;
  }
}

std::uint64_t load(std::span<const std::byte> bytes) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, bytes.data(), std::min(bytes.size(), sizeof(bits)));
  return bits;
}

void save(std::span<std::byte> bytes, std::uint64_t bits) {
  std::memcpy(bytes.data(), &bits, std::min(bytes.size(), sizeof(bits)));
}

bool is_nan(std::span<const std::byte> element, DataType type) {
  const auto format = float_format(type);
  if (!format) return false;
  const std::uint64_t bits = load(element.first(format->size_bytes));
  const unsigned sign_position = format->size_bytes * 8 - 1;
  const std::uint64_t magnitude = bits & ((std::uint64_t{1} << sign_position) - 1);
  const std::uint64_t infinity = ((std::uint64_t{1} << (sign_position - format->mantissa_bits)) - 1)
                                 << format->mantissa_bits;
  return magnitude > infinity;
}

bool is_zero(std::span<const std::byte> element, DataType type) {
  const auto format = float_format(type);
  if (!format)
    return std::ranges::all_of(element, [](std::byte one) { return one == std::byte{0}; });
  const std::uint64_t bits = load(element.first(format->size_bytes));
  return (bits & ((std::uint64_t{1} << (format->size_bytes * 8 - 1)) - 1)) == 0;
}

void negate(std::span<std::byte> element, DataType type) {
  if (const auto format = float_format(type)) {
    element[format->size_bytes - 1] ^= std::byte{0x80};
  } else if (type == kBoolType) {
    element[0] ^= std::byte{1};
  } else {
    save(element, ~load(element) + 1);
  }
}

// Keeps the first bits of the mantissa and rounds to the nearest.
std::uint64_t rounded(std::uint64_t bits, unsigned dropped_bits) {
  const std::uint64_t half = std::uint64_t{1} << (dropped_bits - 1);
  return (bits + half) & ~((std::uint64_t{1} << dropped_bits) - 1);
}

// The range of float16 as well: beyond 65504 there is infinity, below 2^-24 nothing.
double clamped_to_float16(double value) {
  if (std::isnan(value)) return value;
  if (std::abs(value) >= 65520.0)
    return std::copysign(std::numeric_limits<double>::infinity(), value);
  if (std::abs(value) < 0x1p-14) return std::nearbyint(value * 0x1p24) * 0x1p-24;
  return value;
}

std::vector<std::uint64_t> element_offsets(const TensorLayout& layout, std::uint64_t size_bytes) {
  std::vector<std::uint64_t> offsets(element_count(layout));
  std::vector<std::int64_t> index(layout.sizes.size(), 0);
  for (std::uint64_t& offset : offsets) {
    std::int64_t steps = 0;
    for (std::size_t i = 0; i < index.size(); ++i) steps += index[i] * layout.strides[i];
    offset = static_cast<std::uint64_t>(steps) * size_bytes;
    for (std::size_t i = index.size(); i-- > 0;) {
      if (++index[i] < layout.sizes[i]) break;
      index[i] = 0;
    }
  }
  return offsets;
}

}  // namespace

Contents::Contents(executor::Executor& executor, const Place& place)
    : executor_(executor),
      place_(place),
      element_size_bytes_(protocol::data_type_size_bytes(place.layout.dtype)),
      offsets_(element_offsets(place.layout, element_size_bytes_)),
      bytes_(protocol::extent_size_bytes(place.layout)) {
  executor_.read(place_.id, place_.offset * element_size_bytes_, bytes_);
  original_ = bytes_;
}

bool Contents::store() {
  if (!has_changed()) return false;
  executor_.write(place_.id, place_.offset * element_size_bytes_, bytes_);
  return true;
}

void Contents::restore() {
  executor_.write(place_.id, place_.offset * element_size_bytes_, original_);
}

void Contents::change(Variation variation, std::uint64_t position) {
  const DataType type = place_.layout.dtype;
  switch (variation) {
    case Variation::kLastBit:
      return change_one(position, [](Element element) { element[0] ^= std::byte{1}; });
    case Variation::kNegated:
      return change_one(position, [&](Element element) {
        if (!is_zero(element, type) || type == kBoolType) negate(element, type);
      });
    case Variation::kElementLost:
      return change_one(position, [&](Element element) {
        if (!is_zero(element, type)) std::ranges::fill(element, std::byte{0});
      });
    case Variation::kShifted:
      return shift();
    case Variation::kBfloat16:
      return round(7, /*in_float16=*/false);
    case Variation::kFloat16:
      return round(10, /*in_float16=*/true);
    case Variation::kTenBits:
      return round(10, /*in_float16=*/false);
    default:
      return permute(variation);
  }
}

void Contents::set_last_element_to_zero() {
  if (!offsets_.empty()) std::ranges::fill(element(offsets_.size() - 1), std::byte{0});
}

void Contents::take_bytes_of(const Contents& other) {
  std::copy_n(other.bytes_.begin(), std::min(bytes_.size(), other.bytes_.size()), bytes_.begin());
}

Contents::Element Contents::element(std::uint64_t index) {
  return std::span(bytes_).subspan(offsets_[index], element_size_bytes_);
}

// The first element at or behind the position that shows the change.
template <typename Change>
void Contents::change_one(std::uint64_t position, Change change) {
  for (std::uint64_t i = 0; i < offsets_.size() && !has_changed(); ++i) {
    const Element chosen = element((position + i) % offsets_.size());
    if (!is_nan(chosen, place_.layout.dtype)) change(chosen);
  }
}

void Contents::shift() {
  for (std::uint64_t i = 0; i < offsets_.size(); ++i) {
    std::memcpy(element(i).data(), original_.data() + offsets_[(i + 1) % offsets_.size()],
                element_size_bytes_);
  }
}

// The same places in memory, taken in another order of the dimensions.
void Contents::permute(Variation variation) {
  const std::size_t rank = place_.layout.sizes.size();
  if (rank < 2) return;
  std::vector<std::size_t> order(rank);
  std::iota(order.begin(), order.end(), 0);
  if (variation == Variation::kResultReversed) std::ranges::reverse(order);
  if (variation == Variation::kResultLastTwo) std::swap(order[rank - 2], order[rank - 1]);
  if (variation == Variation::kResultFirstTwo) std::swap(order[0], order[1]);
  // The elements, in the order of a loop over the dimensions as they are ordered now.
  TensorLayout other{.dtype = place_.layout.dtype, .sizes = {}, .strides = {}};
  for (const std::size_t dimension : order) {
    other.sizes.push_back(place_.layout.sizes[dimension]);
    other.strides.push_back(place_.layout.strides[dimension]);
  }
  const auto from = element_offsets(other, element_size_bytes_);
  for (std::uint64_t i = 0; i < offsets_.size(); ++i) {
    std::memcpy(element(i).data(), original_.data() + from[i], element_size_bytes_);
  }
}

void Contents::round(unsigned kept_mantissa_bits, bool in_float16) {
  const auto format = float_format(place_.layout.dtype);
  if (!format || format->mantissa_bits <= kept_mantissa_bits) return;
  const unsigned dropped_bits = format->mantissa_bits - kept_mantissa_bits;
  for (std::uint64_t i = 0; i < offsets_.size(); ++i) {
    const Element whole = element(i);
    for (std::size_t part = 0; part < whole.size(); part += format->size_bytes) {
      const Element number = whole.subspan(part, format->size_bytes);
      if (is_nan(number, place_.layout.dtype)) continue;
      save(number, rounded(load(number), dropped_bits));
      if (!in_float16) continue;
      if (format->size_bytes == 4) {
        float value = 0;
        std::memcpy(&value, number.data(), sizeof(value));
        value = static_cast<float>(clamped_to_float16(value));
        std::memcpy(number.data(), &value, sizeof(value));
      } else if (format->size_bytes == 8) {
        double value = 0;
        std::memcpy(&value, number.data(), sizeof(value));
        value = clamped_to_float16(value);
        std::memcpy(number.data(), &value, sizeof(value));
      }
    }
  }
}

}  // namespace torch_remote::mutants
