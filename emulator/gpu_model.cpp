// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Finds a built-in GPU model (rows: gpu_models.cpp) by name, and says what was probably meant when
// there is none.
#include "emulator/gpu_model.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace torch_remote {
namespace {

struct Alias {
  std::string_view name;
  std::string_view type;
};

// A name that reads like a type but isn't one.
struct Confusable {
  std::string_view name;
  std::string_view type;
  std::string_view explanation;
};

constexpr Alias kAliases[] = {{"A100", "A100-40GB"}};

constexpr Confusable kConfusables[] = {
    {"A10", "A10G", "the A10 is another card (72 multiprocessors, the A10G has 80)"}};

// No type comes near this length; what is longer is neither compared nor repeated in full.
constexpr std::size_t kNameLengthMax = 40;

char upper(char character) {
  return character >= 'a' && character <= 'z' ? static_cast<char>(character - 'a' + 'A')
                                              : character;
}

bool equal_ignoring_case(std::string_view left, std::string_view right) {
  return std::ranges::equal(left, right, {}, upper, upper);
}

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  return equal_ignoring_case(text.substr(0, prefix.size()), prefix);
}

// Levenshtein's distance without regard to case: the fewest characters to insert, remove or
// replace.
std::size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < left.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < right.size(); ++j) {
      const std::size_t replaced = diagonal + (upper(left[i]) == upper(right[j]) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

// The type nearest to the name, or an empty text when none is near: at most a third of the
// characters may differ. Of equally near types the one that completes the name is preferred.
std::string_view nearest_type(std::string_view name) {
  if (name.size() > kNameLengthMax) return {};
  const std::size_t distance_max = std::max<std::size_t>(1, name.size() / 3);
  std::string_view nearest;
  std::size_t nearest_distance = distance_max + 1;
  bool nearest_completes = false;
  for (const GpuModel& model : gpu_models()) {
    const std::size_t distance = edit_distance(name, model.type);
    const bool completes = starts_with_ignoring_case(model.type, name);
    if (distance < nearest_distance || (distance == nearest_distance && distance <= distance_max &&
                                        completes && !nearest_completes)) {
      nearest = model.type;
      nearest_distance = distance;
      nearest_completes = completes;
    }
  }
  return name.empty() ? std::string_view() : nearest;
}

// What was probably meant, ready to follow the name in the message.
std::string suggestion(std::string_view name) {
  for (const Confusable& confusable : kConfusables) {
    if (equal_ignoring_case(name, confusable.name)) {
      return ": " + std::string(confusable.explanation) + "; did you mean \"" +
             std::string(confusable.type) + "\"?";
    }
  }
  const std::string_view nearest = nearest_type(name);
  if (nearest.empty()) return ".";
  return ": did you mean \"" + std::string(nearest) + "\"?";
}

std::string unknown_type_text(std::string_view name) {
  std::string text = "unknown GPU type \"";
  text += name.substr(0, kNameLengthMax);
  text += name.size() > kNameLengthMax ? "...\"" : "\"";
  text += suggestion(name);
  text += " Types: ";
  std::string_view separator;
  for (const GpuModel& model : gpu_models()) {
    text += separator;
    text += model.type;
    separator = ", ";
  }
  return text;
}

}  // namespace

const GpuModel* find_gpu_model(std::string_view name) {
  for (const Alias& alias : kAliases) {
    if (equal_ignoring_case(name, alias.name)) name = alias.type;
  }
  for (const GpuModel& model : gpu_models()) {
    if (equal_ignoring_case(name, model.type) || equal_ignoring_case(name, model.name))
      return &model;
  }
  return nullptr;
}

const GpuModel& gpu_model(std::string_view name) {
  if (const GpuModel* model = find_gpu_model(name)) return *model;
  throw std::invalid_argument(unknown_type_text(name));
}

}  // namespace torch_remote
