// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// GPUs that share a model come to what each comes to by itself.
#include "emulator/memory_groups.h"

#include <algorithm>
#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "emulator/gpu_model.h"

namespace torch_remote::emulator {
namespace {

using session::NewStorage;

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
constexpr std::uint64_t kGib = std::uint64_t{1} << 30;

std::vector<GpuModel> models(std::span<const std::string> types) {
  std::vector<GpuModel> found;
  for (const std::string& type : types) found.push_back(gpu_model(type));
  return found;
}

MemoryGroups groups_of(const std::vector<std::string>& types,
                       OutOfMemoryPolicy policy = OutOfMemoryPolicy::kRecord) {
  return {models(types), {.out_of_memory = policy}};
}

const std::vector<std::string>& all_types() {
  static const std::vector<std::string> types = [] {
    std::vector<std::string> names;
    for (const GpuModel& model : gpu_models()) names.emplace_back(model.type);
    return names;
  }();
  return types;
}

// Scripts that are the same on all GPUs, or have other scratch on every second one.
PlanScripts plan_of(std::size_t gpus, std::uint64_t scratch_bytes, bool differs) {
  PlanScripts plan;
  for (const std::uint64_t factor : {1, 2}) {
    ScriptWriter writer(1);
    if (scratch_bytes > 0) writer.scratch(factor * scratch_bytes);
    writer.outputs();
    writer.keep(KeptWorkspace::kCublas, factor * 8 * kMib);
    plan.scripts.push_back(std::move(writer).finish());
  }
  for (std::size_t gpu = 0; gpu < gpus; ++gpu)
    plan.script_of_gpu.push_back(static_cast<std::uint8_t>(differs ? gpu % 2 : 0));
  return plan;
}

// The same calls in the same order for whoever runs them, with numbers for GPUs.
class RandomProgram {
 public:
  explicit RandomProgram(unsigned seed) : random_(seed) {}

  template <typename Allocate, typename Call, typename Free>
  void run(int steps, Allocate allocate, Call call, Free free) {
    std::vector<NewStorage> live;
    session::TensorId next = 512;
    for (int i = 0; i < steps; ++i) {
      const auto choice = random_() % 10;
      if (choice < 4 && !live.empty()) {
        std::swap(live[random_() % live.size()], live.back());
        free(live.back().id);
        live.pop_back();
        continue;
      }
      live.push_back({.id = next += 512, .size_bytes = size()});
      if (choice < 7) {
        allocate(live.back());
      } else {
        call(live.back(), choice == 9, (random_() % 64) * kMib);
      }
    }
  }

 private:
  std::uint64_t size() {
    switch (random_() % 4) {
      case 0:
        return random_() % 4096;
      case 1:
        return random_() % (2 * kMib);
      case 2:
        return random_() % (32 * kMib);
      default:
        return random_() % (3 * kGib);
    }
  }
  std::mt19937_64 random_;
};

void run_on(MemoryGroups& groups, unsigned seed, std::span<const std::size_t> numbers) {
  std::uint64_t number = 0;
  RandomProgram(seed).run(
      600,
      [&](const NewStorage& storage) {
        groups.allocate(storage, {.operation = "allocation", .number = number++});
      },
      [&](const NewStorage& output, bool differs, std::uint64_t scratch_bytes) {
        PlanScripts plan = plan_of(9, scratch_bytes, differs);
        std::vector<std::uint8_t> chosen;
        for (const std::size_t gpu : numbers) chosen.push_back(plan.script_of_gpu[gpu]);
        plan.script_of_gpu = chosen;
        groups.call(plan, {&output, 1}, {.operation = "test::call", .number = number++});
      },
      [&](session::TensorId id) { groups.free(id); });
}

TEST(MemoryGroupsTest, GpusTogetherAreAsEachAlone) {
  for (unsigned seed = 0; seed < 8; ++seed) {
    MemoryGroups together = groups_of(all_types());
    const std::vector<std::size_t> numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    run_on(together, seed, numbers);
    int short_count = 0;
    for (const std::size_t gpu : numbers) {
      MemoryGroups alone = groups_of({all_types()[gpu]});
      run_on(alone, seed, {&gpu, 1});
      const auto shared = together.usage(gpu);
      const auto own = alone.usage(0);
      EXPECT_EQ(*shared.statistics, *own.statistics) << seed << " " << all_types()[gpu];
      EXPECT_EQ(shared.free_bytes, own.free_bytes);
      EXPECT_EQ(shared.allocated_bytes_peak, own.allocated_bytes_peak);
      EXPECT_EQ(shared.reserved_bytes_peak, own.reserved_bytes_peak);
      ASSERT_EQ(shared.shortfall == nullptr, own.shortfall == nullptr);
      if (own.shortfall == nullptr) continue;
      ++short_count;
      EXPECT_EQ(shared.shortfall->number, own.shortfall->number);
      EXPECT_EQ(shared.shortfall->report.free_bytes, own.shortfall->report.free_bytes);
      EXPECT_EQ(shared.shortfall->report.requested_bytes, own.shortfall->report.requested_bytes);
    }
    EXPECT_GT(short_count, 0) << "the programs have to meet the limits of some GPUs";
  }
}

TEST(MemoryGroupsTest, AreOneUntilSomethingDiffers) {
  MemoryGroups groups = groups_of({"H200", "A100-40GB", "T4"});
  EXPECT_EQ(groups.group_count(), 1u);
  groups.allocate({.id = 512, .size_bytes = 10 * kGib}, {.operation = "allocation"});
  EXPECT_EQ(groups.group_count(), 1u);
  groups.allocate({.id = 1024, .size_bytes = 10 * kGib},
                  {.operation = "allocation", .number = 1, .location = 7});
  EXPECT_EQ(groups.group_count(), 2u);
  EXPECT_EQ(groups.usage(0).shortfall, nullptr);
  EXPECT_EQ(groups.usage(1).shortfall, nullptr);
  const Shortfall& shortfall = *groups.usage(2).shortfall;
  EXPECT_EQ(shortfall.operation, "allocation");
  EXPECT_EQ(shortfall.number, 1u);
  EXPECT_EQ(shortfall.location, 7u);
  EXPECT_EQ(shortfall.report.requested_bytes, 10 * kGib);
  EXPECT_EQ(shortfall.report.allocated_bytes, 10 * kGib);
  EXPECT_EQ(groups.usage(2).allocated_bytes_peak, 20 * kGib) << "it goes on to what is needed";
  PlanScripts plan = plan_of(3, kMib, /*differs=*/true);
  groups.call(plan, {}, {.operation = "test::call"});
  EXPECT_EQ(groups.group_count(), 3u) << "the H200 takes another workspace than the A100";
}

TEST(MemoryGroupsTest, TheGoverningGpuRaisesAndNothingHasHappened) {
  MemoryGroups groups = groups_of({"T4", "A100-80GB"}, OutOfMemoryPolicy::kRaise);
  groups.allocate({.id = 512, .size_bytes = 10 * kGib}, {.operation = "allocation"});
  const std::vector<NewStorage> outputs = {{.id = 1024, .size_bytes = kGib},
                                           {.id = 1536, .size_bytes = 5 * kGib}};
  PlanScripts plan{.scripts = {{}}, .script_of_gpu = {0, 0}};
  EXPECT_THROW(groups.call(plan, outputs, {.operation = "test::call", .location = 3}), OutOfMemory);
  for (const std::size_t gpu : {0, 1}) {
    EXPECT_EQ(groups.usage(gpu).statistics->allocated_bytes.all.current, 10 * kGib) << gpu;
  }
  EXPECT_EQ(groups.usage(0).shortfall->location, 3u);
  EXPECT_EQ(groups.usage(1).shortfall, nullptr);
  groups.free(512);
  groups.call(plan, outputs, {.operation = "test::call"});
  EXPECT_EQ(groups.usage(0).statistics->allocated_bytes.all.current, 6 * kGib);
}

TEST(MemoryGroupsTest, LibrariesKeepAWorkspaceForEachStream) {
  MemoryGroups groups = groups_of({"A100-80GB"});
  PlanScripts plan = plan_of(1, 0, /*differs=*/false);
  for (const std::uint32_t stream : {0u, 1u, 0u, 1u})
    groups.call(plan, {}, {.operation = "test::call", .stream = stream});
  EXPECT_EQ(groups.usage(0).statistics->allocated_bytes.all.current, 16 * kMib);
}

TEST(MemoryGroupsTest, SettingsThatNameAFractionOfTheMemoryKeepGpusApart) {
  const MemoryGroups groups(
      models(std::vector<std::string>{"T4", "L4", "H100"}),
      {.allocator = parse_allocator_settings("garbage_collection_threshold:0.5")});
  EXPECT_EQ(groups.group_count(), 3u);
  EXPECT_EQ(groups.usage(2).total_bytes, gpu_model("H100").total_memory_bytes);
  EXPECT_EQ(groups.usage(2).free_bytes, usable_memory_bytes(gpu_model("H100")));
}

TEST(StorageSlotsTest, NumbersStaySmallAndTheirOwn) {
  StorageSlots slots;
  std::mt19937_64 random(1);
  std::vector<std::pair<session::TensorId, SlotNumber>> live;
  for (session::TensorId id = 512; id < 512 * 20'000; id += 512) {
    live.emplace_back(id, slots.acquire(id));
    if (live.size() < 3000) continue;
    std::swap(live[random() % live.size()], live.back());
    EXPECT_EQ(slots.release(live.back().first), live.back().second);
    EXPECT_FALSE(slots.contains(live.back().first));
    live.pop_back();
  }
  EXPECT_EQ(slots.capacity(), 3000u);
  std::vector<bool> seen(slots.capacity());
  for (const auto& [id, slot] : live) {
    EXPECT_EQ(slots.find(id), slot);
    EXPECT_FALSE(seen[slot]);
    seen[slot] = true;
  }
}

TEST(MemorySeriesTest, KeepsMaximaHoweverLongItGets) {
  MemorySeries series;
  std::vector<std::uint64_t> values;
  std::mt19937_64 random(2);
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    values.push_back(random() % 1'000'000);
    series.note(i, values.back(), 2 * values.back());
  }
  const auto& points = series.points();
  EXPECT_LE(points.size(), MemorySeries::kPointsMax);
  EXPECT_GT(points.size(), MemorySeries::kPointsMax / 4);
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto first = static_cast<std::ptrdiff_t>(points[i].first_operation);
    const auto end = i + 1 < points.size()
                         ? static_cast<std::ptrdiff_t>(points[i + 1].first_operation)
                         : static_cast<std::ptrdiff_t>(values.size());
    EXPECT_EQ(points[i].allocated_bytes,
              *std::max_element(values.begin() + first, values.begin() + end));
    EXPECT_EQ(points[i].reserved_bytes, 2 * points[i].allocated_bytes);
  }
}

}  // namespace
}  // namespace torch_remote::emulator
