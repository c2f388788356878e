// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The rules against what real GPUs recorded (recorded/temporaries.txt): how many calls allocate and
// free the same bytes in the same order, and how many at least come to the same peak. The table in
// docs/EMULATOR.md is this test's; it prints what doesn't fit with --gtest_also_run_disabled_tests.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/protocol/bytes.h"
#include "core/protocol/plan.h"
#include "emulator/gpu_model.h"
#include "emulator/workspace/library_settings.h"
#include "emulator/workspace/memory_script.h"
#include "emulator/workspace/memory_scripts.h"

namespace torch_remote::emulator::workspace {
namespace {

// An operator and its plan, as the file has them.
struct RecordedPlan {
  std::string name;
  std::string overload;
  protocol::PlanDefinition definition;
};

struct Case {
  std::string name;
  std::string parameters;
  std::vector<std::string> steps;
  std::vector<std::int64_t> recorded;
  bool is_cut = false;
};

std::vector<std::byte> bytes_of(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

class Records {
 public:
  Records() {
    const auto path =
        std::filesystem::path(__FILE__).parent_path() / "recorded" / "temporaries.txt";
    std::ifstream file(path);
    if (!file) throw std::runtime_error("can't read " + path.string());
    for (std::string line; std::getline(file, line);) add(line);
  }

  const std::vector<RecordedPlan>& plans() const { return plans_; }
  const std::vector<Case>& cases() const { return cases_; }

 private:
  void add(const std::string& line) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "plan") {
      RecordedPlan plan;
      std::string hex;
      words >> plan.name >> plan.overload >> hex;
      if (plan.overload == "-") plan.overload.clear();
      const auto bytes = bytes_of(hex);
      protocol::ByteReader reader(bytes);
      plan.definition = protocol::get_plan(reader);
      plans_.push_back(std::move(plan));
    } else if (kind == "case") {
      const std::size_t bar = line.find(" | ");
      cases_.push_back({.name = line.substr(5, bar - 5), .parameters = line.substr(bar + 3)});
    } else if (kind == "recorded") {
      for (std::string word; words >> word;) {
        if (word == "...") {
          cases_.back().is_cut = true;
        } else {
          cases_.back().recorded.push_back(std::stoll(word));
        }
      }
    } else if (kind != "#" && !kind.empty()) {
      cases_.back().steps.push_back(line);
    }
  }

  std::vector<RecordedPlan> plans_;
  std::vector<Case> cases_;
};

const Records& records() {
  static const Records all;
  return all;
}

// Plays a case's steps with the scripts of a GPU, into events like the recorded ones.
class Player {
 public:
  Player(const GpuModel& gpu, const LibrarySettings& settings) : gpu_(gpu), settings_(settings) {}

  std::vector<std::int64_t> play(const Case& played) {
    for (const std::string& step : played.steps) {
      std::istringstream words(step);
      std::string kind;
      words >> kind;
      if (kind == "call") {
        call(words);
      } else if (kind == "allocate") {
        std::int64_t size = 0;
        words >> size;
        storages_.push_back(size);
        add(size);
      } else {
        std::size_t storage = 0;
        words >> storage;
        add(-storages_.at(storage));
      }
    }
    return events_;
  }

 private:
  void call(std::istringstream& words) {
    std::size_t number = 0;
    words >> number;
    const RecordedPlan& plan = records().plans().at(number);
    const MemoryScript script =
        memory_script({plan.name, plan.overload, plan.definition}, gpu_, settings_);
    const std::size_t first = storages_.size();
    for (std::int64_t size = 0; words >> size;) storages_.push_back(size);
    std::vector<std::int64_t> scratch(script.scratch_count);
    if (script.steps.empty()) {
      for (std::size_t i = first; i < storages_.size(); ++i) add(storages_[i]);
    }
    for (const ScriptStep& step : script.steps) {
      switch (step.kind) {
        case ScriptStep::Kind::kAllocate:
          scratch[step.number] = static_cast<std::int64_t>(step.size_bytes);
          add(scratch[step.number]);
          break;
        case ScriptStep::Kind::kFree:
          add(-scratch[step.number]);
          break;
        case ScriptStep::Kind::kSizedOutput:
          storages_.at(first + step.number) = static_cast<std::int64_t>(step.size_bytes);
          [[fallthrough]];
        case ScriptStep::Kind::kOutput:
          add(storages_.at(first + step.number));
          break;
        case ScriptStep::Kind::kKeep:
          break;  // the first run has taken it
      }
    }
  }
  void add(std::int64_t size) {
    if (size != 0) events_.push_back(size);
  }

  const GpuModel& gpu_;
  LibrarySettings settings_;
  std::vector<std::int64_t> storages_;
  std::vector<std::int64_t> events_;
};

// The most memory above what there was before, in blocks of 512 bytes.
std::int64_t peak_bytes(const std::vector<std::int64_t>& events) {
  std::int64_t live = 0, peak = 0;
  for (const std::int64_t event : events) {
    const std::int64_t blocks = (std::abs(event) + 511) / 512 * 512;
    live += event > 0 ? blocks : -blocks;
    peak = std::max(peak, live);
  }
  return peak;
}

// Of all cases together; no case's name.
constexpr const char* kAll = "(all)";

enum class Fit { kSameEvents, kSamePeak, kWithinOnePercent, kOff };

LibrarySettings settings_of(const Case& played) {
  LibrarySettings settings;
  const auto names = [&](const char* kernel) {
    return played.parameters.find(kernel) != std::string::npos;
  };
  if (names("FLASH_ATTENTION")) settings.attention = AttentionChoice::kFlash;
  if (names("EFFICIENT_ATTENTION")) settings.attention = AttentionChoice::kEfficient;
  if (names("CUDNN_ATTENTION")) settings.attention = AttentionChoice::kCudnn;
  return settings;
}

Fit fit_of(const Case& played, const std::vector<std::int64_t>& events) {
  std::vector<std::int64_t> compared = events;
  if (played.is_cut && compared.size() > played.recorded.size())
    compared.resize(played.recorded.size());
  if (compared == played.recorded) return Fit::kSameEvents;
  const std::int64_t wanted = peak_bytes(played.recorded), got = peak_bytes(compared);
  if (wanted == got) return Fit::kSamePeak;
  const double difference = std::abs(static_cast<double>(got - wanted));
  return difference <= 0.01 * static_cast<double>(wanted) ? Fit::kWithinOnePercent : Fit::kOff;
}

struct Tally {
  int same_events = 0;
  int same_peak = 0;
  int within_one_percent = 0;
  int off = 0;

  void add(Fit fit) {
    switch (fit) {
      case Fit::kSameEvents:
        ++same_events;
        break;
      case Fit::kSamePeak:
        ++same_peak;
        break;
      case Fit::kWithinOnePercent:
        ++within_one_percent;
        break;
      case Fit::kOff:
        ++off;
        break;
    }
  }
  int all() const { return same_events + same_peak + within_one_percent + off; }
};

std::string text(const std::vector<std::int64_t>& events) {
  std::ostringstream out;
  for (std::size_t i = 0; i < std::min<std::size_t>(events.size(), 30); ++i)
    out << events[i] << ' ';
  return out.str();
}

std::map<std::string, Tally> tallies(const char* gpu, bool prints) {
  std::map<std::string, Tally> result;
  for (const Case& played : records().cases()) {
    const auto events = Player(gpu_model(gpu), settings_of(played)).play(played);
    const Fit fit = fit_of(played, events);
    result[played.name].add(fit);
    result[kAll].add(fit);
    if (prints && (fit == Fit::kOff || fit == Fit::kWithinOnePercent)) {
      std::cout << (fit == Fit::kOff ? "off: " : "near: ") << played.name << " | "
                << played.parameters << "\n  recorded " << text(played.recorded) << "\n  modelled "
                << text(events) << "\n";
    }
  }
  return result;
}

TEST(RecordedTemporaries, Fit) {
  for (const char* gpu : {"H100", "H200"}) {
    const Tally all = tallies(gpu, false)[kAll];
    EXPECT_EQ(all.all(), 417) << gpu;
    EXPECT_GE(all.same_events, 284) << gpu;
    EXPECT_GE(all.same_events + all.same_peak, 325) << gpu;
    EXPECT_LE(all.off, 55) << gpu;
  }
}

// Rules that follow PyTorch's source, or CUB's, fit to the byte.
TEST(RecordedTemporaries, KnownSourcesFitExactly) {
  const auto by_name = tallies("H100", false);
  for (const char* name : {"mm",
                           "bmm",
                           "linear",
                           "sort",
                           "sort(stable,int64)",
                           "argsort(rows)",
                           "topk(10)",
                           "topk(10,rows)",
                           "kthvalue",
                           "cumsum",
                           "randperm",
                           "bincount",
                           "histc",
                           "index_put(accumulate)",
                           "index_put_(accumulate)",
                           "embedding backward",
                           "sum",
                           "sum(0)",
                           "sum(1)",
                           "mean",
                           "var(1)",
                           "std",
                           "argmax",
                           "max(1)",
                           "norm",
                           "softmax(1)",
                           "log_softmax(1)",
                           "layer_norm backward",
                           "group_norm backward",
                           "softmax backward",
                           "cross_entropy backward"}) {
    ASSERT_TRUE(by_name.contains(name)) << name;
    EXPECT_EQ(by_name.at(name).same_events, by_name.at(name).all()) << name;
  }
}

TEST(RecordedTemporaries, DISABLED_PrintTable) {
  for (const auto& [name, tally] : tallies("H100", true)) {
    std::cout << "| " << name << " | " << tally.all() << " | " << tally.same_events << " | "
              << tally.same_peak << " | " << tally.within_one_percent << " | " << tally.off
              << " |\n";
  }
}

}  // namespace
}  // namespace torch_remote::emulator::workspace
