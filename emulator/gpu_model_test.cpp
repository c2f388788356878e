// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Tests the rows of gpu_models.cpp against a second copy of the figures, the rules of
// gpu_model_check.h, and the look-up by name of gpu_model.cpp.
#include "emulator/gpu_model.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <gtest/gtest.h>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "emulator/gpu_model_check.h"

namespace torch_remote {
namespace {

constexpr std::string_view kTypes = "T4, L4, A10G, A100-40GB, A100-80GB, L40S, H100, H200, B200";
constexpr std::uint64_t kMib = 1024 * 1024;

struct Expected {
  std::string_view type;
  std::string_view name;
  std::int32_t capability_major, capability_minor, multiprocessor_count, max_threads;
  std::uint64_t total_memory_bytes;
  double dram_bandwidth_gb_per_s;
  std::int32_t boost_clock_mhz;
  double l2_cache_mib;
  std::uint64_t shared_memory_kib;
  std::int32_t tdp_w, pcie_generation;
  std::optional<double> nvlink_gb_per_s;
  double price_usd_per_s;
};

constexpr std::nullopt_t none = std::nullopt;

constexpr Expected kExpected[] = {
    {"T4", "Tesla T4", 7, 5, 40, 1024, 15642329088, 320, 1590, 4, 64, 70, 3, none, .000164},
    {"L4", "NVIDIA L4", 8, 9, 58, 1536, 23612293120, 300, 2040, 48, 100, 72, 4, none, .000222},
    {"A10G", "NVIDIA A10G", 8, 6, 80, 1536, 23684186112, 600, 1710, 6, 100, 300, 4, none, .000306},
    {"A100-40GB", "NVIDIA A100-SXM4-40GB", 8, 0, 108, 2048, 42298834944, 1555, 1410, 40, 164, 400,
     4, 600, .000583},
    {"A100-80GB", "NVIDIA A100-SXM4-80GB", 8, 0, 108, 2048, 85100068864, 2039, 1410, 40, 164, 400,
     4, 600, .000694},
    {"L40S", "NVIDIA L40S", 8, 9, 142, 1536, 47576711168, 864, 2520, 96, 100, 350, 4, none,
     .000542},
    {"H100", "NVIDIA H100 80GB HBM3", 9, 0, 132, 2048, 85017755648, 3350, 1980, 50, 228, 700, 5,
     900, .001097},
    {"H200", "NVIDIA H200", 9, 0, 132, 2048, 150149398528, 4800, 1980, 60, 228, 700, 5, 900,
     .001261},
    {"B200", "NVIDIA B200", 10, 0, 148, 2048, 191514017792, 8000, 1965, 126.5, 228, 1000, 5, 1800,
     .001736},
};

struct ExpectedPeak {
  std::string_view type;
  std::optional<double> fp64, fp64_tensor_core, fp32, tf32, fp16, bf16, fp8, int8, fp4;
};

constexpr ExpectedPeak kExpectedPeaks[] = {
    {"T4", .25, none, 8.1, none, 65, none, none, 130, none},
    {"L4", .47, none, 30.3, 60, 121, 121, 242, 242, none},
    {"A10G", .5, none, 35, 35, 70, 70, none, 140, none},
    {"A100-40GB", 9.7, 19.5, 19.5, 156, 312, 312, none, 624, none},
    {"A100-80GB", 9.7, 19.5, 19.5, 156, 312, 312, none, 624, none},
    {"L40S", 1.4, none, 91.6, 183, 362, 362, 733, 733, none},
    {"H100", 34, 67, 67, 494.5, 989, 989, 1979, 1979, none},
    {"H200", 34, 67, 67, 494.5, 989, 989, 1979, 1979, none},
    {"B200", 37, 37, 75, 1125, 2250, 2250, 4500, 4500, 9000},
};

std::string error_text(std::string_view name) {
  try {
    gpu_model(name);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "no error";
}

TEST(GpuModelTable, HoldsTheFiguresOfAllNineTypesInOrder) {
  const std::span<const GpuModel> models = gpu_models();
  ASSERT_EQ(models.size(), std::size(kExpected));
  for (std::size_t i = 0; i < models.size(); ++i) {
    const GpuModel& model = models[i];
    const Expected& expected = kExpected[i];
    SCOPED_TRACE(expected.type);
    EXPECT_EQ(model.type, expected.type);
    EXPECT_EQ(model.name, expected.name);
    EXPECT_EQ(model.capability_major, expected.capability_major);
    EXPECT_EQ(model.capability_minor, expected.capability_minor);
    EXPECT_EQ(model.multiprocessor_count, expected.multiprocessor_count);
    EXPECT_EQ(model.max_threads_per_multiprocessor, expected.max_threads);
    EXPECT_EQ(model.warp_size, 32);
    EXPECT_EQ(model.total_memory_bytes, expected.total_memory_bytes);
    EXPECT_EQ(model.dram_bandwidth_gb_per_s, expected.dram_bandwidth_gb_per_s);
    EXPECT_EQ(model.boost_clock_mhz, expected.boost_clock_mhz);
    EXPECT_EQ(static_cast<double>(model.l2_cache_bytes), expected.l2_cache_mib * kMib);
    EXPECT_EQ(model.shared_memory_per_multiprocessor_bytes, expected.shared_memory_kib * 1024);
    EXPECT_EQ(model.tdp_w, expected.tdp_w);
    EXPECT_EQ(model.host_link.pcie_generation, expected.pcie_generation);
    EXPECT_EQ(model.host_link.pcie_lane_count, 16);
    EXPECT_EQ(model.host_link.nvlink_gb_per_s, expected.nvlink_gb_per_s);
    EXPECT_EQ(model.modal_price_usd_per_s, expected.price_usd_per_s);
    EXPECT_EQ(model.modal_price_date, "autumn 2026");
  }
}

TEST(GpuModelTable, HoldsThePeaksAndTheirAbsence) {
  for (const ExpectedPeak& expected : kExpectedPeaks) {
    SCOPED_TRACE(expected.type);
    const PeakRates& peak = gpu_model(expected.type).peak;
    EXPECT_EQ(peak.fp64, expected.fp64);
    EXPECT_EQ(peak.fp64_tensor_core, expected.fp64_tensor_core);
    EXPECT_EQ(peak.fp32, expected.fp32);
    EXPECT_EQ(peak.tf32, expected.tf32);
    EXPECT_EQ(peak.fp16, expected.fp16);
    EXPECT_EQ(peak.bf16, expected.bf16);
    EXPECT_EQ(peak.fp8, expected.fp8);
    EXPECT_EQ(peak.int8, expected.int8);
    EXPECT_EQ(peak.fp4, expected.fp4);
  }
}

TEST(GpuModelTable, ContextMemoryIsSmallUncertainAndLeavesTheRestUsable) {
  for (const GpuModel& model : gpu_models()) {
    SCOPED_TRACE(model.type);
    EXPECT_GE(model.context_memory_bytes, 100 * kMib);
    EXPECT_LE(model.context_memory_bytes, 900 * kMib);
    EXPECT_EQ(usable_memory_bytes(model) + model.context_memory_bytes, model.total_memory_bytes);
    const Note* note = find_note(model, "context_memory_bytes");
    ASSERT_NE(note, nullptr);
    EXPECT_TRUE(note->is_uncertain);
  }
}

TEST(GpuModelTable, SharedMemoryThatABlockMayAskForFollowsTheCapability) {
  // Kibibytes by the CUDA C++ Programming Guide: 7.5, 8.0, 8.6, 8.9, 9.0, 10.0.
  EXPECT_EQ(shared_memory_per_block_optin_bytes(gpu_model("T4")), 64u * 1024);
  EXPECT_EQ(shared_memory_per_block_optin_bytes(gpu_model("A100")), 163u * 1024);
  EXPECT_EQ(shared_memory_per_block_optin_bytes(gpu_model("A10G")), 99u * 1024);
  EXPECT_EQ(shared_memory_per_block_optin_bytes(gpu_model("L4")), 99u * 1024);
  EXPECT_EQ(shared_memory_per_block_optin_bytes(gpu_model("H100")), 227u * 1024);
  EXPECT_EQ(shared_memory_per_block_optin_bytes(gpu_model("B200")), 227u * 1024);
}

TEST(GpuModelNotes, EveryValueHasASource) {
  constexpr std::string_view fields[] = {"type",
                                         "name",
                                         "capability_major",
                                         "capability_minor",
                                         "multiprocessor_count",
                                         "max_threads_per_multiprocessor",
                                         "warp_size",
                                         "total_memory_bytes",
                                         "context_memory_bytes",
                                         "l2_cache_bytes",
                                         "shared_memory_per_multiprocessor_bytes",
                                         "dram_bandwidth_gb_per_s",
                                         "boost_clock_mhz",
                                         "tdp_w",
                                         "host_link.pcie_generation",
                                         "host_link.pcie_lane_count",
                                         "host_link.nvlink_gb_per_s",
                                         "peak.fp64",
                                         "peak.fp64_tensor_core",
                                         "peak.fp32",
                                         "peak.tf32",
                                         "peak.fp16",
                                         "peak.bf16",
                                         "peak.fp8",
                                         "peak.int8",
                                         "peak.fp4",
                                         "modal_price_usd_per_s",
                                         "modal_price_date"};
  const std::set<std::string_view> known(std::begin(fields), std::end(fields));
  for (const GpuModel& model : gpu_models()) {
    SCOPED_TRACE(model.type);
    for (const std::string_view field : fields) {
      const Note* note = find_note(model, field);
      ASSERT_NE(note, nullptr) << field;
      EXPECT_FALSE(note->source.empty()) << field;
    }
    std::set<std::string_view> noted;
    for (const Note& note : model.notes) {
      EXPECT_TRUE(known.contains(note.field)) << note.field;
      EXPECT_TRUE(noted.insert(note.field).second) << note.field << " is noted twice";
    }
  }
  EXPECT_EQ(find_note(gpu_model("T4"), "no_such_field"), nullptr);
}

TEST(GpuModelNotes, MarkWhatIsUncertain) {
  const auto is_uncertain = [](std::string_view type, std::string_view field) {
    return find_note(gpu_model(type), field)->is_uncertain;
  };
  EXPECT_TRUE(is_uncertain("A10G", "total_memory_bytes"));
  EXPECT_TRUE(is_uncertain("A10G", "boost_clock_mhz"));
  EXPECT_TRUE(is_uncertain("A10G", "tdp_w"));
  EXPECT_TRUE(is_uncertain("A10G", "peak.fp64"));
  EXPECT_TRUE(is_uncertain("B200", "dram_bandwidth_gb_per_s"));
  EXPECT_TRUE(is_uncertain("B200", "peak.fp32"));
  EXPECT_FALSE(is_uncertain("L4", "multiprocessor_count"));
  EXPECT_FALSE(is_uncertain("H100", "boost_clock_mhz"));
}

TEST(FindGpuModel, FindsTypesReportedNamesAndTheAliasInAnyCase) {
  for (const GpuModel& model : gpu_models()) {
    EXPECT_EQ(find_gpu_model(model.type), &model);
    EXPECT_EQ(find_gpu_model(model.name), &model);
    EXPECT_EQ(&gpu_model(model.type), &model);
  }
  EXPECT_EQ(find_gpu_model("a100-80gb"), find_gpu_model("A100-80GB"));
  EXPECT_EQ(find_gpu_model("tesla t4"), find_gpu_model("T4"));
  ASSERT_NE(find_gpu_model("A100"), nullptr);
  EXPECT_EQ(find_gpu_model("A100")->type, "A100-40GB");
  EXPECT_EQ(find_gpu_model("a100")->type, "A100-40GB");
}

TEST(FindGpuModel, FindsNothingElse) {
  for (const std::string_view name : {"", " ", "A10", "A100-80", "H100 ", "T", "V100", "cuda"})
    EXPECT_EQ(find_gpu_model(name), nullptr) << name;
}

TEST(UnknownGpuModel, SuggestsWhatIsNear) {
  const std::string types = " Types: " + std::string(kTypes);
  EXPECT_EQ(error_text("A100-80"),
            "unknown GPU type \"A100-80\": did you mean \"A100-80GB\"?" + types);
  EXPECT_EQ(error_text("a100 40gb"),
            "unknown GPU type \"a100 40gb\": did you mean \"A100-40GB\"?" + types);
  EXPECT_EQ(error_text("A100-80G"),
            "unknown GPU type \"A100-80G\": did you mean \"A100-80GB\"?" + types);
  EXPECT_EQ(error_text("H1OO"), "unknown GPU type \"H1OO\"." + types);
  EXPECT_EQ(error_text("H10O"), "unknown GPU type \"H10O\": did you mean \"H100\"?" + types);
  EXPECT_EQ(error_text("h20"), "unknown GPU type \"h20\": did you mean \"H200\"?" + types);
  EXPECT_EQ(error_text("L40"), "unknown GPU type \"L40\": did you mean \"L40S\"?" + types);
}

TEST(UnknownGpuModel, ExplainsThatTheA10IsAnotherCard) {
  EXPECT_EQ(error_text("a10"),
            "unknown GPU type \"a10\": the A10 is another card (72 multiprocessors, the A10G has "
            "80); did you mean \"A10G\"? Types: " +
                std::string(kTypes));
}

TEST(UnknownGpuModel, SuggestsNothingWhereNothingIsNear) {
  const std::string types = " Types: " + std::string(kTypes);
  EXPECT_EQ(error_text(""), "unknown GPU type \"\"." + types);
  EXPECT_EQ(error_text("banana"), "unknown GPU type \"banana\"." + types);
  EXPECT_EQ(error_text("RTX 4090"), "unknown GPU type \"RTX 4090\"." + types);
  EXPECT_EQ(error_text(std::string(100'000, 'A')),
            "unknown GPU type \"" + std::string(40, 'A') + "...\"." + types);
}

TEST(GpuModelCheck, AcceptsTheTableAndNamesWhatIsWrong) {
  EXPECT_EQ(invalid(gpu_models()), "");
  const auto reason_after = [](auto change) {
    GpuModel model = gpu_model("H100");
    change(model);
    return std::string(invalid(model));
  };
  EXPECT_EQ(reason_after([](GpuModel&) {}), "");
  EXPECT_EQ(reason_after([](GpuModel& model) { model.type = ""; }), "type is missing");
  EXPECT_EQ(reason_after([](GpuModel& model) { model.capability_minor = 3; }),
            "the compute capability is not a known one");
  EXPECT_EQ(reason_after([](GpuModel& model) { model.max_threads_per_multiprocessor = 1536; }),
            "max_threads_per_multiprocessor is not that of the compute capability");
  EXPECT_EQ(reason_after([](GpuModel& model) { model.total_memory_bytes = 80; }),
            "total_memory_bytes is below 1 GiB");
  EXPECT_EQ(reason_after([](GpuModel& model) { model.total_memory_bytes = 1024 * kMib; }),
            "context_memory_bytes is more than half of total_memory_bytes");
  EXPECT_EQ(reason_after([](GpuModel& model) { model.dram_bandwidth_gb_per_s = 3.35; }),
            "dram_bandwidth_gb_per_s is not between 100 and 100,000");
  EXPECT_EQ(reason_after([](GpuModel& model) { model.boost_clock_mhz = 0; }),
            "boost_clock_mhz is not between 500 and 5000");
  EXPECT_EQ(reason_after([](GpuModel& model) { model.peak.fp16 = -1; }), "a peak is not positive");
  EXPECT_EQ(reason_after([](GpuModel& model) { model.peak.fp8.reset(); }),
            "peak.fp8 contradicts the capability");
  EXPECT_EQ(reason_after([](GpuModel& model) { model.peak.fp4 = 9000; }),
            "peak.fp4 contradicts the capability");
  EXPECT_EQ(reason_after([](GpuModel& model) { model.host_link.pcie_lane_count = 15; }),
            "host_link.pcie_lane_count is not 4, 8 or 16");
  EXPECT_EQ(reason_after([](GpuModel& model) { model.modal_price_date = ""; }),
            "modal_price_date is missing");
  const std::array twice = {gpu_model("T4"), gpu_model("L4"), gpu_model("T4")};
  EXPECT_EQ(invalid(std::span<const GpuModel>(twice)), "two models share a name");
}

}  // namespace
}  // namespace torch_remote
