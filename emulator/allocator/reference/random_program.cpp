// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Draws settings, then steps. Nothing depends on what an allocator answers, nor on a library's
// random numbers, so a seed is a program for ever.
#include "emulator/allocator/reference/random_program.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace torch_remote::emulator::reference {
namespace {

constexpr std::uint64_t kKib = 1024;
constexpr std::uint64_t kMib = 1024 * kKib;

// SplitMix64.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t below(std::uint64_t end) {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t bits = state_;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
    return (bits ^ (bits >> 31)) % end;
  }
  bool percent(std::uint64_t chance) { return below(100) < chance; }
  template <std::size_t kCount>
  const char* one_of(const std::array<const char*, kCount>& choices) {
    return choices[below(kCount)];
  }

 private:
  std::uint64_t state_;
};

void add_setting(std::string& settings, const std::string& setting) {
  if (!settings.empty()) settings += ',';
  settings += setting;
}

// max_split_size stays what it is while a program runs: PyTorch would give back blocks that it has
// split.
std::string random_settings(Random& random, bool is_expandable, bool with_garbage,
                            const std::string& max_split_size) {
  std::string settings;
  if (is_expandable) add_setting(settings, "expandable_segments:True");
  if (random.percent(15))
    add_setting(settings, std::string("large_segment_size_mb:") +
                              random.one_of(std::array{"11", "16", "32", "64"}));
  if (!max_split_size.empty()) add_setting(settings, max_split_size);
  if (random.percent(15))
    add_setting(settings, std::string("max_non_split_rounding_mb:") +
                              random.one_of(std::array{"64", "80", "256"}));
  if (random.percent(35))
    add_setting(settings,
                std::string("roundup_power2_divisions:") +
                    random.one_of(std::array{"1", "2", "4", "8", "16", "[256:1,512:2,1024:4,>:8]",
                                             "[2:4,16:8,>:2]", "[4:16,32:0,128:4]", "[1:2,>:1]"}));
  if (with_garbage)
    add_setting(settings, std::string("garbage_collection_threshold:") +
                              random.one_of(std::array{"0.3", "0.55", "0.8", "0.95"}));
  if (random.percent(5)) add_setting(settings, "throw_on_cudamalloc_oom:True");
  return settings;
}

std::string random_max_split_size(Random& random) {
  if (!random.percent(35)) return "";
  return std::string("max_split_size_mb:") +
         random.one_of(std::array{"64", "65", "100", "128", "200"});
}

// Evenly in the logarithm within four classes; every third is round.
std::uint64_t random_size(Random& random) {
  struct Class {
    std::uint64_t low_bytes;
    std::uint32_t doublings;
  };
  constexpr std::array<Class, 4> kClasses{
      {{1, 20}, {kMib - 600, 4}, {10 * kMib - 2048, 3}, {64 * kMib, 2}}};
  const std::uint64_t choice = random.below(100);
  const Class size_class = kClasses[choice < 40 ? 0 : choice < 70 ? 1 : choice < 95 ? 2 : 3];
  const std::uint64_t low_bytes = size_class.low_bytes << random.below(size_class.doublings);
  const std::uint64_t size_bytes = low_bytes + random.below(low_bytes + 1);
  if (!random.percent(33)) return size_bytes;
  constexpr std::uint64_t kRound = 64 * kKib;
  return size_bytes < kRound ? kRound : size_bytes / kRound * kRound;
}

class Writer {
 public:
  Writer(Random& random, Program& program) : random_(random), program_(program) {}

  void write(std::size_t count, std::uint64_t live_bytes_max, bool changes_settings) {
    live_bytes_max_ = live_bytes_max;
    changes_settings_ = changes_settings;
    while (program_.steps.size() < count) write_step();
    while (!live_.empty()) free(live_.size() - 1);
    add({.kind = StepKind::kSynchronize});
    add({.kind = StepKind::kEmptyCache});
  }

 private:
  struct Live {
    std::uint32_t id;
    std::uint64_t size_bytes;
  };

  void write_step() {
    const std::uint64_t choice = random_.below(1000);
    if (!live_.empty() && (live_bytes_ > live_bytes_max_ || choice < 400)) {
      free(random_.below(live_.size()));
    } else if (choice < 900 || live_.empty()) {
      allocate();
    } else if (choice < 960 && program_.stream_count > 1) {
      add({.kind = StepKind::kRecordStream,
           .id = live_[random_.below(live_.size())].id,
           .stream = random_stream()});
    } else if (choice < 975 && program_.stream_count > 1) {
      add({.kind = StepKind::kAdvance, .stream = random_stream()});
    } else if (choice < 980) {
      add({.kind = StepKind::kSynchronize});
    } else if (choice < 988) {
      add({.kind = StepKind::kEmptyCache});
    } else if (choice < 991) {
      add({.kind = StepKind::kResetPeak});
    } else if (choice < 993) {
      add({.kind = StepKind::kResetAccumulated});
    } else if (choice < 997) {
      if (!program_.steps.empty() && has_fraction_) set_fraction();
    } else if (changes_settings_) {
      add({.kind = StepKind::kSetSettings});
    }
  }

  void allocate() {
    const Live block{.id = next_id_++, .size_bytes = random_size(random_)};
    live_.push_back(block);
    live_bytes_ += block.size_bytes;
    add({.id = block.id, .stream = random_stream(), .size_bytes = block.size_bytes});
  }

  void free(std::size_t place) {
    add({.kind = StepKind::kFree, .id = live_[place].id});
    live_bytes_ -= live_[place].size_bytes;
    live_[place] = live_.back();
    live_.pop_back();
  }

  std::uint32_t random_stream() {
    return static_cast<std::uint32_t>(random_.below(program_.stream_count));
  }
  void add(const Step& step) { program_.steps.push_back(step); }

 public:
  void set_fraction() {
    has_fraction_ = true;
    add({.kind = StepKind::kSetFraction,
         .size_bytes = program_.total_bytes / 100 * (40 + random_.below(60))});
  }

 private:
  Random& random_;
  Program& program_;
  std::vector<Live> live_;
  std::uint64_t live_bytes_ = 0;
  std::uint64_t live_bytes_max_ = 0;
  std::uint32_t next_id_ = 0;
  bool changes_settings_ = false;
  bool has_fraction_ = false;
};

}  // namespace

Program random_program(std::uint64_t seed) {
  Random random(seed * 0x2545f4914f6cdd1d + 1);
  const bool is_expandable = random.percent(30);
  const bool with_garbage = random.percent(25);
  const bool changes_settings = random.percent(10);
  const std::string max_split_size = random_max_split_size(random);
  Program program{
      .settings = random_settings(random, is_expandable, with_garbage, max_split_size),
      .other_settings = random_settings(random, random.percent(50), with_garbage, max_split_size),
      .total_bytes = (512 + random.below(3) * 512) * kMib,
      .used_bytes = random.below(64) * 2 * kMib};
  if (random.percent(5)) add_setting(program.settings, "per_process_memory_fraction:0.8");
  // Half of the programs have streams, and some more than a hash table's first size.
  if (random.percent(50))
    program.stream_count = random.percent(20) ? 2 + static_cast<std::uint32_t>(random.below(30))
                                              : 2 + static_cast<std::uint32_t>(random.below(3));
  // Around the device's memory: some programs run out of it, most retry now and then.
  const std::uint64_t live_bytes_max = program.total_bytes / 100 * (20 + random.below(90));
  Writer writer(random, program);
  if (with_garbage || random.percent(20)) writer.set_fraction();
  writer.write(100 + random.below(120), live_bytes_max, changes_settings);
  return program;
}

}  // namespace torch_remote::emulator::reference
