// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Reads the settings' text: names and values, separated by commas, with lists in brackets.
#include "emulator/allocator/allocator_settings.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace torch_remote::emulator {
namespace {

using Kind = InvalidAllocatorSettings::Kind;

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
constexpr std::uint64_t kLargeRequestMib = 10;

[[noreturn]] void fail(const std::string& text, Kind kind = Kind::kValueError) {
  throw InvalidAllocatorSettings(kind, text);
}

void check(bool is_valid, const std::string& text) {
  if (!is_valid) fail(text);
}

// What PyTorch skips where it finds a name that another of its readers knows.
constexpr std::array<std::string_view, 6> kSettingsOfOthers = {
    "backend",
    "pinned_use_background_threads",
    "pinned_max_round_threshold_mb",
    "pinned_max_cached_size_mb",
    "pinned_reserve_segment_size_mb",
    "pinned_free_catch_all",
};

class SettingsReader {
 public:
  SettingsReader(AllocatorSettings& settings, std::string_view text) : settings_(settings) {
    split(text);
  }

  void read() {
    while (place_ < words_.size()) {
      read_setting(word());
      // Whatever stands between two settings is passed over, as PyTorch does.
      ++place_;
    }
  }

 private:
  void split(std::string_view text) {
    std::string name;
    const auto finish = [&] {
      if (!name.empty()) words_.push_back(std::move(name));
      name.clear();
    };
    for (const char character : text) {
      if (std::string_view(",:[]").find(character) != std::string_view::npos) {
        finish();
        words_.emplace_back(1, character);
      } else if (std::isspace(static_cast<unsigned char>(character)) == 0) {
        name += character;
      }
    }
    finish();
  }

  // The next word, which has to be there.
  const std::string& word() {
    if (place_ >= words_.size()) fail_at_end();
    return words_[place_++];
  }
  [[noreturn]] static void fail_at_end() {
    fail("Index out of bounds in ConfigTokenizer", Kind::kRuntimeError);
  }
  bool is_next(std::string_view expected) const {
    if (place_ >= words_.size()) fail_at_end();
    return words_[place_] == expected;
  }

  std::uint64_t number() {
    const std::string& text = word();
    try {
      return std::stoull(text);
    } catch (const std::out_of_range&) {
      fail("stoull", Kind::kIndexError);
    } catch (const std::invalid_argument&) {
      fail("stoull");
    }
  }
  double fraction() {
    const std::string& text = word();
    try {
      return std::stod(text);
    } catch (const std::out_of_range&) {
      fail("stod", Kind::kIndexError);
    } catch (const std::invalid_argument&) {
      fail("stod");
    }
  }
  bool truth() {
    const std::size_t index = place_;
    const std::string& text = word();
    check(text == "True" || text == "False", "Expected 'True' or 'False' at index " +
                                                 std::to_string(index) +
                                                 " in ConfigTokenizer but got '" + text + "'");
    return text == "True";
  }

  void read_setting(const std::string& name) {
    word();  // the colon
    if (name == "large_segment_size_mb") {
      read_large_segment_size();
    } else if (name == "max_split_size_mb") {
      settings_.max_split_size_bytes = megabytes_not_below_segment(name);
    } else if (name == "max_non_split_rounding_mb") {
      settings_.max_non_split_rounding_bytes = megabytes_not_below_segment(name);
    } else if (name == "garbage_collection_threshold") {
      const double threshold = fraction();
      check(threshold > 0 && threshold < 1,
            "garbage_collect_threshold is invalid, set it in (0.0, 1.0)");
      settings_.garbage_collection_threshold = threshold;
    } else if (name == "roundup_power2_divisions") {
      read_divisions();
    } else if (name == "expandable_segments") {
      settings_.expandable_segments = truth();
    } else {
      read_setting_of_cuda(name);
    }
  }

  void read_setting_of_cuda(const std::string& name) {
    if (name == "per_process_memory_fraction") {
      const double value = fraction();
      check(value >= 0 && value <= 1,
            "per_process_memory_fraction is invalid, set it in [0.0, 1.0]");
      settings_.per_process_memory_fraction = value;
    } else if (name == "throw_on_cudamalloc_oom") {
      settings_.throw_on_cudamalloc_oom = truth();
    } else if (name == "release_lock_on_cudamalloc" || name == "release_lock_on_hipmalloc") {
      settings_.release_lock_on_cudamalloc = truth();
    } else if (name == "pinned_use_cuda_host_register" || name == "pinned_use_hip_host_register") {
      settings_.pinned_use_cuda_host_register = truth();
    } else if (name == "graph_capture_record_stream_reuse") {
      settings_.graph_capture_record_stream_reuse = truth();
    } else if (name == "pinned_num_register_threads") {
      read_register_threads();
    } else {
      read_setting_of_others(name);
    }
  }

  void read_setting_of_others(const std::string& name) {
    check(std::find(kSettingsOfOthers.begin(), kSettingsOfOthers.end(), name) !=
              kSettingsOfOthers.end(),
          "Unrecognized key '" + name + "' in CUDA allocator config.");
    if (name == "backend") {
      const std::string& backend = word();
      check(backend == "native" || backend == "cudaMallocAsync",
            "Unknown allocator backend, options are native and cudaMallocAsync");
      check(backend == "native",
            "emulated GPUs have PyTorch's own allocator: leave backend:cudaMallocAsync out");
    } else if (name == "pinned_use_background_threads" || name == "pinned_free_catch_all") {
      truth();
    } else {
      const std::uint64_t value = number();
      if (name == "pinned_reserve_segment_size_mb")
        check(value > 0, "Pinned reserve segment size has to be greater than 0");
    }
  }

  void read_register_threads() {
    constexpr std::uint64_t kThreadsMax = 128;
    const std::uint64_t threads = number();
    check(std::has_single_bit(threads),
          "Number of register threads has to be power of 2, got " + std::to_string(threads));
    check(threads <= kThreadsMax, "Number of register threads should be less than or equal to " +
                                      std::to_string(kThreadsMax) + ", got " +
                                      std::to_string(threads));
    settings_.pinned_num_register_threads = threads;
  }

  void read_large_segment_size() {
    const std::uint64_t size_mib = number();
    check(size_mib > kLargeRequestMib, "CachingAllocator option large_segment_size_mb must be > " +
                                           std::to_string(kLargeRequestMib) + " MB");
    settings_.large_segment_size_bytes = size_mib * kMib;
    settings_.max_non_split_rounding_bytes = settings_.large_segment_size_bytes;
  }

  std::uint64_t megabytes_not_below_segment(const std::string& name) {
    const std::uint64_t size_mib = number();
    const std::uint64_t least_mib = settings_.large_segment_size_bytes / kMib;
    check(size_mib >= least_mib, "CachingAllocator option " + name +
                                     " too small, must be >= " + std::to_string(least_mib));
    return std::min(size_mib, AllocatorSettings::kUnlimited / kMib) * kMib;
  }

  void read_divisions() {
    auto& divisions = settings_.roundup_power2_divisions;
    if (!is_next("[")) {
      const std::uint64_t value = number();
      check(std::has_single_bit(value), "For roundups, the divisions has to be power of 2 ");
      divisions.fill(value);
      return;
    }
    word();
    std::size_t last = 0;
    bool is_first = true;
    while (place_ < words_.size() && words_[place_] != "]") {
      read_divisions_of_class(last, is_first);
      is_first = false;
      if (!is_next("]")) word();  // the comma
    }
    if (place_ >= words_.size())
      fail("Expected closing bracket ']' in ConfigTokenizer but reached end of config",
           Kind::kRuntimeError);
    word();
  }

  // "256:4": sizes of 256 MiB up to the next power of two; the first goes for all below as well,
  // and
  // ">:4" for all above the one before.
  void read_divisions_of_class(std::size_t& last, bool is_first) {
    auto& divisions = settings_.roundup_power2_divisions;
    const std::size_t boundary_place = place_;
    word();
    word();  // the colon
    const std::uint64_t value = number();
    check(value == 0 || std::has_single_bit(value),
          "For roundups, the divisions has to be power of 2 or 0 to disable roundup ");
    if (words_[boundary_place] == ">") {
      std::fill(divisions.begin() + static_cast<std::ptrdiff_t>(last) + 1, divisions.end(), value);
      return;
    }
    const std::size_t after = place_;
    place_ = boundary_place;
    const std::uint64_t boundary_mib = number();
    place_ = after;
    check(std::has_single_bit(boundary_mib), "For roundups, the intervals have to be power of 2 ");
    last = std::min<std::size_t>(static_cast<std::size_t>(std::countr_zero(boundary_mib)),
                                 divisions.size() - 1);
    if (is_first)
      std::fill(divisions.begin(), divisions.begin() + static_cast<std::ptrdiff_t>(last), value);
    divisions[last] = value;
  }

  AllocatorSettings& settings_;
  std::vector<std::string> words_;
  std::size_t place_ = 0;
};

}  // namespace

std::uint64_t AllocatorSettings::divisions_of(std::uint64_t size_bytes) const {
  const std::uint64_t size_mib = std::max<std::uint64_t>(size_bytes / kMib, 1);
  const auto size_class = static_cast<std::size_t>(std::bit_width(size_mib) - 1);
  return roundup_power2_divisions[std::min(size_class, kRoundupClasses - 1)];
}

AllocatorSettings with_allocator_settings(AllocatorSettings settings, std::string_view text) {
  settings.max_split_size_bytes = AllocatorSettings::kUnlimited;
  settings.roundup_power2_divisions.fill(0);
  settings.garbage_collection_threshold = 0;
  settings.text = text;
  SettingsReader(settings, text).read();
  return settings;
}

}  // namespace torch_remote::emulator
