// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "conformance/mutants/places.h"

#include <cstring>

namespace torch_remote::mutants {
namespace {

using protocol::Access;
using protocol::Argument;
using protocol::ArgumentKind;
using protocol::Output;
using protocol::OutputKind;

class Finder {
 public:
  explicit Finder(std::span<const std::byte> values) : values_(values) {}

  void add(const Argument& argument, bool is_in_list) {
    if (argument.kind == ArgumentKind::kTensor) return add_tensor(argument, is_in_list);
    const std::uint32_t before = position_;
    const protocol::CallShape shape = protocol::call_shape({.arguments = {argument}});
    if (argument.kind == ArgumentKind::kTensorList) {
      for (const Argument& element : argument.elements) add(element, /*is_in_list=*/true);
    }
    position_ = before + shape.values_size_bytes;
  }

  void add(const Output& output, bool is_in_list) {
    if (output.kind == OutputKind::kFresh) {
      places_.outputs.push_back({.id = take<TensorId>(position_),
                                 .layout = output.layout,
                                 .is_in_list = is_in_list,
                                 .position = position_});
      position_ += 8;
    }
    for (const Output& element : output.elements) add(element, /*is_in_list=*/true);
  }

  Places take_places() { return std::move(places_); }

 private:
  template <typename T>
  T take(std::uint32_t position) const {
    T value;
    std::memcpy(&value, values_.data() + position, sizeof(value));
    return value;
  }

  void add_tensor(const Argument& argument, bool is_in_list) {
    Place place{.id = take<TensorId>(position_),
                .layout = argument.layout,
                .is_written = argument.access == Access::kWrite,
                .is_in_list = is_in_list,
                .position = position_,
                .offset_size_bytes = argument.offset_size_bytes};
    if (argument.offset_size_bytes == 4) place.offset = take<std::uint32_t>(position_ + 8);
    if (argument.offset_size_bytes == 8) place.offset = take<std::uint64_t>(position_ + 8);
    places_.arguments.push_back(std::move(place));
    position_ += 8u + argument.offset_size_bytes;
  }

  std::span<const std::byte> values_;
  std::uint32_t position_ = 0;
  Places places_;
};

bool varies(ArgumentKind kind) {
  return kind == ArgumentKind::kVaryingInteger || kind == ArgumentKind::kVaryingBoolean ||
         kind == ArgumentKind::kVaryingDouble || kind == ArgumentKind::kVaryingComplex;
}

}  // namespace

Places find_places(const protocol::PlanDefinition& definition, std::span<const std::byte> values) {
  Finder finder(values);
  for (const Argument& argument : definition.arguments) finder.add(argument, /*is_in_list=*/false);
  for (const Output& output : definition.outputs) finder.add(output, /*is_in_list=*/false);
  return finder.take_places();
}

std::vector<Place> find_places(std::span<const protocol::DescribedOutput> outputs,
                               TensorId first_id) {
  using DescribedKind = protocol::DescribedOutput::Kind;
  std::vector<Place> places;
  bool is_in_list = false;
  for (const protocol::DescribedOutput& output : outputs) {
    if (output.kind == DescribedKind::kListBegin) is_in_list = true;
    if (output.kind == DescribedKind::kListEnd) is_in_list = false;
    if (output.kind != DescribedKind::kTensor) continue;
    places.push_back({.id = first_id++, .layout = output.layout, .is_in_list = is_in_list});
  }
  return places;
}

std::optional<std::uint32_t> number_position(const protocol::PlanDefinition& definition,
                                             std::size_t argument) {
  if (argument >= definition.arguments.size() || !varies(definition.arguments[argument].kind))
    return std::nullopt;
  const auto end = definition.arguments.begin() + static_cast<std::ptrdiff_t>(argument);
  return protocol::call_shape({.arguments = {definition.arguments.begin(), end}}).values_size_bytes;
}

bool is_contiguous(const protocol::TensorLayout& layout) {
  std::int64_t step = 1;
  for (std::size_t i = layout.sizes.size(); i-- > 0;) {
    if (layout.sizes[i] > 1 && layout.strides[i] != step) return false;
    step *= layout.sizes[i];
  }
  return true;
}

std::uint64_t element_count(const protocol::TensorLayout& layout) {
  std::uint64_t count = 1;
  for (const std::int64_t size : layout.sizes) count *= static_cast<std::uint64_t>(size);
  return count;
}

}  // namespace torch_remote::mutants
