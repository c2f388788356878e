// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/own_gpu.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <locale>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

#include "emulator/gpu_model_check.h"

namespace torch_remote {
namespace {

// Sets a model's value; false where the text can't be one.
using Apply = bool (*)(GpuModel& model, const std::string& text);

struct Row : GpuValueRule {
  Apply apply = nullptr;
};

template <typename Number>
std::optional<Number> parse_whole(std::string_view text, Number least, Number most) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_all = error == std::errc() && end == text.data() + text.size();
  return is_all && number >= least && number <= most ? std::optional(number) : std::nullopt;
}

// Independent of the program's locale, and of a C++ library that has no from_chars for doubles.
std::optional<double> parse_number(const std::string& text, double least, double most) {
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  double number = 0;
  stream >> number;
  const bool is_all = !stream.fail() && stream.peek() == std::istringstream::traits_type::eof();
  return is_all && number >= least && number <= most ? std::optional(number) : std::nullopt;
}

template <typename Value, typename Found>
bool set(Value& value, const std::optional<Found>& found) {
  if (found) value = static_cast<Value>(*found);
  return found.has_value();
}

template <auto member, std::int32_t least, std::int32_t most>
bool set_whole(GpuModel& model, const std::string& text) {
  return set(model.*member, parse_whole(text, least, most));
}

template <auto member, std::uint64_t least, std::uint64_t most>
bool set_bytes(GpuModel& model, const std::string& text) {
  return set(model.*member, parse_whole(text, least, most));
}

template <auto member>
bool set_peak(GpuModel& model, const std::string& text) {
  std::optional<double>& peak = model.peak.*member;
  if (text == "none") {
    peak.reset();
    return true;
  }
  const std::optional<double> found = parse_number(text, 1e-3, 1e6);
  if (found) peak = found;
  return found.has_value();
}

bool set_capability(GpuModel& model, const std::string& text) {
  const std::size_t point = text.find('.');
  if (point == std::string::npos) return false;
  const std::string_view whole = text;
  const auto major = parse_whole<std::int32_t>(whole.substr(0, point), 1, 99);
  const auto minor = parse_whole<std::int32_t>(whole.substr(point + 1), 0, 9);
  if (!major || !minor) return false;
  const auto limits = find_capability_limits(*major, *minor);
  if (!limits) return false;
  model.capability_major = *major;
  model.capability_minor = *minor;
  model.max_threads_per_multiprocessor = limits->max_threads_per_multiprocessor;
  model.shared_memory_per_multiprocessor_bytes = limits->shared_memory_per_multiprocessor_bytes;
  return true;
}

// Texts are kept by whoever builds the model.
bool is_name(GpuModel& /*model*/, const std::string& text) {
  constexpr std::size_t kLengthMax = 100;
  return !text.empty() && text.size() <= kLengthMax &&
         std::ranges::all_of(text, [](char c) { return c >= ' ' && c != ','; });
}

bool is_built_in(GpuModel& /*model*/, const std::string& text) {
  return find_gpu_model(text) != nullptr;
}

constexpr std::uint64_t kMib = 1024 * 1024;
constexpr std::string_view kPeakExpected =
    "TFLOP/s (TOP/s for int8) without sparsity, from 0.001 to 1000000, or \"none\"";

using enum GpuValueKind;

// The ranges are those of gpu_model_check.h.
constexpr Row kRows[] = {
    {{"like", kText, "the name of a built-in GPU type, for example \"H100\""}, &is_built_in},
    {{"type", kText, "a text of 1 to 100 characters without a comma"}, &is_name},
    {{"name", kText, "a text of 1 to 100 characters without a comma"}, &is_name},
    {{"compute_capability", kCapability,
      "a known compute capability x.y: 7.0, 7.5, 8.0, 8.6, 8.7, 8.9, 9.0, 10.0, 10.3, 12.0 or "
      "12.1"},
     &set_capability},
    {{"multiprocessor_count", kWhole, "a whole number from 1 to 1024"},
     &set_whole<&GpuModel::multiprocessor_count, 1, 1024>},
    {{"boost_clock_mhz", kWhole, "a whole number of MHz from 500 to 5000"},
     &set_whole<&GpuModel::boost_clock_mhz, 500, 5000>},
    {{"tdp_w", kWhole, "a whole number of watts from 20 to 5000"},
     &set_whole<&GpuModel::tdp_w, 20, 5000>},
    {{"total_memory_bytes", kBytes,
      "a whole number of bytes, or a text such as \"80 GiB\", from 1 GiB to 1 TiB"},
     &set_bytes<&GpuModel::total_memory_bytes, 1024 * kMib, 1024 * 1024 * kMib>},
    {{"context_memory_bytes", kBytes,
      "a whole number of bytes, or a text such as \"500 MiB\", from 32 MiB to 2 GiB"},
     &set_bytes<&GpuModel::context_memory_bytes, 32 * kMib, 2048 * kMib>},
    {{"l2_cache_bytes", kBytes,
      "a whole number of bytes, or a text such as \"50 MiB\", from 1 MiB to 1 GiB"},
     &set_bytes<&GpuModel::l2_cache_bytes, kMib, 1024 * kMib>},
    {{"dram_bandwidth_gb_per_s", kNumber, "10^9 bytes a second, from 100 to 100000"},
     [](GpuModel& model, const std::string& text) {
       return set(model.dram_bandwidth_gb_per_s, parse_number(text, 100, 100'000));
     }},
    {{"host_link.pcie_generation", kWhole, "a whole number from 3 to 7"},
     [](GpuModel& model, const std::string& text) {
       return set(model.host_link.pcie_generation, parse_whole<std::int32_t>(text, 3, 7));
     }},
    {{"host_link.pcie_lane_count", kWhole, "4, 8 or 16"},
     [](GpuModel& model, const std::string& text) {
       const bool is_count = text == "4" || text == "8" || text == "16";
       return is_count &&
              set(model.host_link.pcie_lane_count, parse_whole<std::int32_t>(text, 4, 16));
     }},
    {{"host_link.nvlink_gb_per_s", kPeak,
      "10^9 bytes a second, both directions together, from 1 to 100000, or \"none\""},
     [](GpuModel& model, const std::string& text) {
       model.host_link.nvlink_gb_per_s = parse_number(text, 1, 100'000);
       return model.host_link.nvlink_gb_per_s.has_value() || text == "none";
     }},
    {{"price_usd_per_h", kNumber, "US dollars an hour, from 0 to 359, 0 where it isn't known"},
     [](GpuModel& model, const std::string& text) {
       const std::optional<double> price = parse_number(text, 0, 359);
       if (price) model.modal_price_usd_per_s = *price / 3600;
       return price.has_value();
     }},
    {{"peak.fp64", kPeak, kPeakExpected}, &set_peak<&PeakRates::fp64>},
    {{"peak.fp64_tensor_core", kPeak, kPeakExpected}, &set_peak<&PeakRates::fp64_tensor_core>},
    {{"peak.fp32", kPeak, kPeakExpected}, &set_peak<&PeakRates::fp32>},
    {{"peak.tf32", kPeak, kPeakExpected}, &set_peak<&PeakRates::tf32>},
    {{"peak.fp16", kPeak, kPeakExpected}, &set_peak<&PeakRates::fp16>},
    {{"peak.bf16", kPeak, kPeakExpected}, &set_peak<&PeakRates::bf16>},
    {{"peak.fp8", kPeak, kPeakExpected}, &set_peak<&PeakRates::fp8>},
    {{"peak.int8", kPeak, kPeakExpected}, &set_peak<&PeakRates::int8>},
    {{"peak.fp4", kPeak, kPeakExpected}, &set_peak<&PeakRates::fp4>},
};

constexpr auto kRules = [] {
  std::array<GpuValueRule, std::size(kRows)> rules;
  std::ranges::copy(kRows, rules.begin());
  return rules;
}();

// Without another GPU that it is like, a card says these itself.
constexpr std::string_view kNeeded[] = {"name",
                                        "compute_capability",
                                        "multiprocessor_count",
                                        "boost_clock_mhz",
                                        "tdp_w",
                                        "total_memory_bytes",
                                        "l2_cache_bytes",
                                        "dram_bandwidth_gb_per_s",
                                        "host_link.pcie_generation",
                                        "peak.fp32",
                                        "peak.fp16"};

void check_names(const GpuValues& values) {
  for (const auto& [name, text] : values) {
    if (std::ranges::find(kRows, name, &GpuValueRule::name) == std::end(kRows))
      throw GpuValueError(name, "there is no value \"" + name + "\"");
  }
}

void apply(GpuModel& model, const GpuValues& values, const Row& row) {
  const auto given = values.find(std::string(row.name));
  if (given == values.end() || row.apply(model, given->second)) return;
  throw GpuValueError(given->first, std::string(row.name) + " has to be " +
                                        std::string(row.expected) + ", not \"" + given->second +
                                        "\"");
}

// The first built-in GPU of the newest architecture that isn't newer.
const GpuModel& nearest_architecture(const GpuModel& own) {
  const auto capability = [](const GpuModel& model) {
    return model.capability_major * 10 + model.capability_minor;
  };
  const GpuModel* nearest = &gpu_models().front();
  for (const GpuModel& model : gpu_models()) {
    if (capability(model) > capability(own)) continue;
    if (capability(model) > capability(*nearest)) nearest = &model;
  }
  return *nearest;
}

GpuModel base_of(const GpuValues& values) {
  if (const auto like = values.find("like"); like != values.end()) return gpu_model(like->second);
  for (const std::string_view needed : kNeeded) {
    if (values.contains(std::string(needed))) continue;
    throw GpuValueError(std::string(needed), std::string(needed) +
                                                 " is missing; give it, or a built-in GPU whose "
                                                 "values hold for the rest, like = \"H100\"");
  }
  GpuModel own;
  apply(own, values, *std::ranges::find(kRows, "compute_capability", &GpuValueRule::name));
  GpuModel base = nearest_architecture(own);
  base.host_link.pcie_lane_count = 16;
  base.host_link.nvlink_gb_per_s.reset();
  base.modal_price_usd_per_s = 0;
  return base;
}

void scale(std::optional<double>& peak, double factor) {
  if (peak) *peak *= factor;
}

// A unit that an architecture has and the base's has not, as a share of the fp16 rate: those of the
// data sheets.
std::optional<double> present_from(bool is_there, std::optional<double> peak,
                                   std::optional<double> of_fp16) {
  if (!is_there) return std::nullopt;
  return peak ? peak : of_fp16;
}

// Peaks that aren't given follow those that are: the fp32 and fp16 rates by multiprocessors and
// clock, the others by these.
void complete_peaks(GpuModel& model, const GpuModel& base) {
  const double size = static_cast<double>(model.multiprocessor_count) * model.boost_clock_mhz /
                      (static_cast<double>(base.multiprocessor_count) * base.boost_clock_mhz);
  PeakRates& peak = model.peak;
  scale(peak.fp32, size);
  scale(peak.fp16, size);
  scale(peak.fp64, size);
  for (std::optional<double>* rate :
       {&peak.fp64_tensor_core, &peak.tf32, &peak.bf16, &peak.fp8, &peak.int8, &peak.fp4})
    scale(*rate, size);
}

// What a base has, changed to the values' units, before the values themselves are set.
void derive_peaks(GpuModel& model, const GpuModel& base, const GpuValues& values) {
  complete_peaks(model, base);
  const auto ratio = [&](const char* name, const std::optional<double>& scaled) {
    const auto given = values.find(name);
    if (given == values.end() || !scaled) return 1.0;
    return parse_number(given->second, 1e-3, 1e6).value_or(*scaled) / *scaled;
  };
  PeakRates& peak = model.peak;
  const double products = ratio("peak.fp16", peak.fp16);
  scale(peak.fp64, ratio("peak.fp32", peak.fp32));
  for (std::optional<double>* rate :
       {&peak.fp64_tensor_core, &peak.tf32, &peak.bf16, &peak.fp8, &peak.int8, &peak.fp4})
    scale(*rate, products);
  const double fp16 = peak.fp16.value_or(0) * products;
  const std::int32_t capability = model.capability_major * 10 + model.capability_minor;
  peak.tf32 = present_from(capability >= 80, peak.tf32, fp16 / 2);
  peak.bf16 = present_from(capability >= 80, peak.bf16, fp16);
  peak.fp8 = present_from(capability >= 89, peak.fp8, fp16 * 2);
  peak.fp4 = present_from(capability >= 100, peak.fp4, fp16 * 4);
}

// Texts and values that a model views.
struct OwnGpu {
  GpuValues values;
  std::string type;
  std::string name;
  GpuModel model;
};

std::string text_of(const GpuValues& values, const char* name, std::string_view otherwise) {
  const auto given = values.find(name);
  return given == values.end() ? std::string(otherwise) : given->second;
}

std::unique_ptr<OwnGpu> make_own(const GpuValues& values) {
  check_names(values);
  GpuModel scratch;
  for (const Row& row : kRows) apply(scratch, values, row);  // each by itself
  const GpuModel base = base_of(values);
  auto own = std::make_unique<OwnGpu>(OwnGpu{.values = values, .model = base});
  own->name = text_of(values, "name", base.name);
  own->type = text_of(values, "type", own->name);
  if (find_gpu_model(own->type) != nullptr)
    throw GpuValueError("type", "type has to be another name than \"" + own->type +
                                    "\", which is a built-in GPU's");
  GpuModel& model = own->model;
  for (const Row& row : kRows) {
    if (row.kind != kPeak) apply(model, values, row);
  }
  derive_peaks(model, base, values);
  for (const Row& row : kRows) {
    if (row.kind == kPeak) apply(model, values, row);
  }
  model.type = own->type;
  model.name = own->name;
  model.own_values = &own->values;
  if (values.contains("price_usd_per_h")) model.modal_price_date = "as given";
  if (const std::string_view reason = invalid(model); !reason.empty())
    throw GpuValueError(std::string(reason.substr(0, reason.find_first_of(", "))),
                        std::string(reason));
  return own;
}

constexpr std::string_view kTypeKey = "emulates";
constexpr std::string_view kValuePrefix = "emulates.";

}  // namespace

std::span<const GpuValueRule> gpu_value_rules() { return kRules; }

const GpuModel& own_gpu_model(const GpuValues& values) {
  static std::mutex mutex;
  static std::vector<std::unique_ptr<const OwnGpu>> owns;
  const std::scoped_lock lock(mutex);
  for (const auto& own : owns) {
    if (own->values == values) return own->model;
  }
  return owns.emplace_back(make_own(values))->model;
}

std::map<std::string, std::string> gpu_description(const GpuModel& model) {
  std::map<std::string, std::string> description = {
      {std::string(kTypeKey), std::string(model.type)}};
  if (model.own_values == nullptr) return description;
  for (const auto& [name, text] : *model.own_values)
    description.emplace(std::string(kValuePrefix) + name, text);
  return description;
}

const GpuModel* described_gpu_model(const std::map<std::string, std::string>& description) {
  GpuValues values;
  for (const auto& [key, text] : description) {
    if (key.starts_with(kValuePrefix)) values.emplace(key.substr(kValuePrefix.size()), text);
  }
  if (!values.empty()) return &own_gpu_model(values);
  const auto type = description.find(std::string(kTypeKey));
  return type == description.end() ? nullptr : find_gpu_model(type->second);
}

}  // namespace torch_remote
