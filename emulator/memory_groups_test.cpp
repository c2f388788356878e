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

struct Clocks {
  explicit Clocks(std::span<const GpuModel> gpus) : clocks(gpus) {}
  ClockGroup clocks;
};

struct GroupsWithClocks : Clocks, MemoryGroups {
  GroupsWithClocks(const std::vector<GpuModel>& gpus, const MemoryGroupOptions& options)
      : Clocks(gpus), MemoryGroups(gpus, options, clocks) {}
};

GroupsWithClocks groups_of(const std::vector<std::string>& types,
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
    GroupsWithClocks together = groups_of(all_types());
    const std::vector<std::size_t> numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    run_on(together, seed, numbers);
    int short_count = 0;
    for (const std::size_t gpu : numbers) {
      GroupsWithClocks alone = groups_of({all_types()[gpu]});
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
  GroupsWithClocks groups = groups_of({"H200", "A100-40GB", "T4"});
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
  GroupsWithClocks groups = groups_of({"T4", "A100-80GB"}, OutOfMemoryPolicy::kRaise);
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
  GroupsWithClocks groups = groups_of({"A100-80GB"});
  PlanScripts plan = plan_of(1, 0, /*differs=*/false);
  for (const std::uint32_t stream : {0u, 1u, 0u, 1u})
    groups.call(plan, {}, {.operation = "test::call", .stream = stream});
  EXPECT_EQ(groups.usage(0).statistics->allocated_bytes.all.current, 16 * kMib);
}

TEST(MemoryGroupsTest, SettingsThatNameAFractionOfTheMemoryKeepGpusApart) {
  const GroupsWithClocks groups(
      models(std::vector<std::string>{"T4", "L4", "H100"}),
      {.allocator = parse_allocator_settings("garbage_collection_threshold:0.5")});
  EXPECT_EQ(groups.group_count(), 3u);
  EXPECT_EQ(groups.usage(2).total_bytes, gpu_model("H100").total_memory_bytes);
  EXPECT_EQ(groups.usage(2).free_bytes, usable_memory_bytes(gpu_model("H100")));
}

// ---- blocks that other streams use ----

constexpr std::int64_t kMillisecond = 1'000'000;

TEST(MemoryGroupsTest, ABlockIsFreeWhenTheStreamThatUsedItIsDone) {
  GroupsWithClocks groups = groups_of({"H200", "T4", "H100"});
  const MemoryCaller caller{.operation = "allocation"};
  groups.allocate({.id = 512, .size_bytes = 64 * kMib}, caller);
  for (const std::size_t gpu : {0, 1, 2}) {
    const std::int64_t gpu_ns = (gpu == 1 ? 5 : 1) * kMillisecond;
    groups.clocks.clock(gpu).launch(1, {.gpu_ns = gpu_ns, .host_ns = 1000, .kernel_count = 1});
  }
  groups.record_stream(512, 1);
  groups.free(512);
  const auto reserved = [&](std::size_t gpu) {
    return groups.usage(gpu).statistics->reserved_bytes.all.current;
  };
  // A request of another size class asks for the event as well, and finds it under way everywhere.
  groups.allocate({.id = 1024, .size_bytes = 64 * kMib}, caller);
  EXPECT_EQ(groups.group_count(), 1u);
  EXPECT_EQ(reserved(0), 128 * kMib);
  for (const std::size_t gpu : {0, 1, 2}) groups.clocks.clock(gpu).wait_until(3 * kMillisecond);
  groups.allocate({.id = 1536, .size_bytes = 64 * kMib}, caller);
  EXPECT_EQ(groups.group_count(), 2u) << "on the T4 the stream isn't done yet";
  EXPECT_EQ(reserved(0), 128 * kMib);
  EXPECT_EQ(reserved(1), 192 * kMib);
  EXPECT_EQ(reserved(2), 128 * kMib);
  groups.clocks.clock(1).wait_until(6 * kMillisecond);
  groups.allocate({.id = 2048, .size_bytes = 64 * kMib}, caller);
  EXPECT_EQ(reserved(0), 192 * kMib);
  EXPECT_EQ(reserved(1), 192 * kMib);
}

TEST(MemoryGroupsTest, GivingMemoryBackWaitsForStreams) {
  GroupsWithClocks groups = groups_of({"H100", "T4"});
  groups.allocate({.id = 512, .size_bytes = 64 * kMib}, {.operation = "allocation"});
  for (const std::size_t gpu : {0, 1}) {
    const auto gpu_ns = static_cast<std::int64_t>(gpu + 1) * kMillisecond;
    groups.clocks.clock(gpu).launch(3, {.gpu_ns = gpu_ns, .host_ns = 1000, .kernel_count = 1});
  }
  groups.record_stream(512, 3);
  groups.free(512);
  groups.empty_cache();
  for (const std::size_t gpu : {0, 1}) {
    EXPECT_EQ(groups.usage(gpu).statistics->reserved_bytes.all.current, 0);
    EXPECT_GT(groups.clocks.clock(gpu).host_time_us(), 1000.0 * static_cast<double>(gpu + 1));
  }
  EXPECT_EQ(groups.group_count(), 1u);
}

// Kernels, waits and blocks of several streams; on every GPU the kernels take another time.
void run_streams_on(GroupsWithClocks& groups, unsigned seed, std::span<const std::size_t> numbers) {
  std::mt19937_64 random(seed);
  std::vector<session::TensorId> live;
  session::TensorId next = 512;
  for (std::uint64_t number = 0; number < 1500; ++number) {
    const auto stream = static_cast<std::uint32_t>(random() % 4);
    const auto choice = random() % 16;
    if (choice < 6) {
      live.push_back(next += 512);
      groups.allocate({.id = live.back(), .size_bytes = random() % (40 * kMib)},
                      {.operation = "allocation", .number = number, .stream = stream});
    } else if (choice < 9) {
      const auto work = static_cast<std::int64_t>(random() % 100'000);
      for (std::size_t i = 0; i < numbers.size(); ++i) {
        const auto gpu_ns = work * static_cast<std::int64_t>(3 + numbers[i]);
        groups.clocks.clock(i).launch(stream,
                                      {.gpu_ns = gpu_ns, .host_ns = 100'000, .kernel_count = 1});
      }
    } else if (choice < 12 && !live.empty()) {
      groups.record_stream(live[random() % live.size()], stream);
    } else if (choice < 15 && !live.empty()) {
      std::swap(live[random() % live.size()], live.back());
      groups.free(live.back());
      live.pop_back();
    } else if (random() % 16 == 0) {
      groups.clocks.synchronize();
    } else if (random() % 16 == 0) {
      groups.empty_cache();
    }
  }
}

TEST(MemoryGroupsTest, GpusTogetherAreAsEachAloneWithStreams) {
  for (unsigned seed = 0; seed < 8; ++seed) {
    GroupsWithClocks together = groups_of(all_types());
    const std::vector<std::size_t> numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    run_streams_on(together, seed, numbers);
    EXPECT_GT(together.group_count(), 1u);
    for (const std::size_t gpu : numbers) {
      GroupsWithClocks alone = groups_of({all_types()[gpu]});
      run_streams_on(alone, seed, {&gpu, 1});
      EXPECT_EQ(*together.usage(gpu).statistics, *alone.usage(0).statistics)
          << seed << " " << all_types()[gpu];
      EXPECT_EQ(together.clocks.clock(gpu).host_time_us(), alone.clocks.clock(0).host_time_us());
    }
  }
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
