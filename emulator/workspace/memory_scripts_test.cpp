// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Expected numbers are of emulator/calibration/measurements, which an H100 and an H200 recorded
// (temporaries.jsonl), or of PyTorch's source where another GPU is meant.
#include "emulator/workspace/memory_scripts.h"

#include <algorithm>
#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/protocol/plan.h"
#include "emulator/gpu_model.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/cub_scratch.h"
#include "emulator/workspace/library_settings.h"
#include "emulator/workspace/memory_script.h"
#include "emulator/workspace/plan_for_test.h"
#include "emulator/workspace/reduction_staging.h"

namespace torch_remote::emulator::workspace {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(MemoryScript, OperatorWithoutARuleTakesItsOutputsAlone) {
  const TestCall call = TestCall("relu").tensor(contiguous({4, 4})).output(contiguous({4, 4}));
  EXPECT_EQ(memory_script(call.planned(), gpu_model("H100")), MemoryScript{});
  EXPECT_THAT(call.events(), ElementsAre(64));
}

TEST(MemoryScript, OperatorOfAnotherLibraryHasNoRule) {
  TestCall call("sum");
  PlannedOperator planned = call.planned();
  planned.name = "mylib::sum";
  EXPECT_EQ(memory_script(planned, gpu_model("H100")), MemoryScript{});
}

TEST(ScriptWriter, FreesWhatIsLeftAndAddsTheOutputs) {
  ScriptWriter writer(2);
  writer.output(1);
  const auto first = writer.allocate(100);
  writer.allocate(0);
  writer.allocate(50);
  writer.free(first);
  const MemoryScript script = std::move(writer).finish();
  using Kind = ScriptStep::Kind;
  std::vector<Kind> kinds;
  for (const ScriptStep& step : script.steps) kinds.push_back(step.kind);
  EXPECT_THAT(kinds, ElementsAre(Kind::kOutput, Kind::kAllocate, Kind::kAllocate, Kind::kFree,
                                 Kind::kOutput, Kind::kFree));
  EXPECT_EQ(figures(script).peak_scratch_bytes, 150u);
}

TEST(Workspaces, AreByArchitectureAndEnvironment) {
  EXPECT_EQ(cublas_workspace_bytes(gpu_model("H100"), {}), 33554432u);
  EXPECT_EQ(cublas_workspace_bytes(gpu_model("B200"), {}), 33554432u);
  EXPECT_EQ(cublas_workspace_bytes(gpu_model("A100"), {}), 8519680u);
  EXPECT_EQ(cublas_lt_workspace_bytes({}), 1048576u);
  const auto only = [](std::string_view wanted, std::string_view value) {
    return
        [=](std::string_view name) { return name == wanted ? std::optional(value) : std::nullopt; };
  };
  const LibrarySettings settings =
      library_settings(only("CUBLAS_WORKSPACE_CONFIG", ":4096:8:16:2"));
  EXPECT_EQ(cublas_workspace_bytes(gpu_model("H100"), settings), (4096u * 8 + 16 * 2) * 1024);
  EXPECT_EQ(cublas_lt_workspace_bytes(library_settings(only("CUBLASLT_WORKSPACE_SIZE", "64"))),
            65536u);
  for (const char* text : {"4096:8", ":4096", ":4096:", ":a:1", ":1:2x"}) {
    EXPECT_THROW(library_settings(only("CUBLAS_WORKSPACE_CONFIG", text)), std::invalid_argument)
        << text;
  }
  EXPECT_THROW(library_settings(only("CUBLASLT_WORKSPACE_SIZE", "1M")), std::invalid_argument);
}

std::vector<KeptWorkspace> kept_by(const TestCall& call) {
  std::vector<KeptWorkspace> kept;
  for (const ScriptStep& step : memory_script(call.planned(), gpu_model("H100")).steps) {
    if (step.kind == ScriptStep::Kind::kKeep) kept.push_back(step.workspace);
  }
  return kept;
}

TEST(Workspaces, BiasThatIsAVectorGoesToCublasLt) {
  const auto call = [](std::int64_t bias) {
    return TestCall("addmm")
        .tensor(contiguous({bias}))
        .tensor(contiguous({8, 16}))
        .tensor(contiguous({16, 4}))
        .output(contiguous({8, 4}));
  };
  EXPECT_THAT(kept_by(call(4)), ElementsAre(KeptWorkspace::kCublas, KeptWorkspace::kCublasLt));
  EXPECT_THAT(kept_by(call(1)), ElementsAre(KeptWorkspace::kCublas));
  EXPECT_THAT(kept_by(TestCall("mm").tensor(contiguous({2, 2})).output(contiguous({2, 2}))),
              ElementsAre(KeptWorkspace::kCublas));
}

TEST(CubScratch, IsWhatWasRecorded) {
  EXPECT_EQ(radix_sort_bytes(100'000, 4, 8), 1228287u);
  EXPECT_EQ(radix_sort_bytes(1 << 22, 4, 8), 51140095u);
  EXPECT_EQ(radix_sort_bytes(100'000, 8, 8), 1639423u);
  EXPECT_EQ(radix_sort_bytes(1 << 22, 8, 8), 68058623u);
  EXPECT_EQ(radix_sort_bytes(100'000, 8, 0), 835327u);
  EXPECT_EQ(radix_sort_bytes(1 << 22, 8, 0), 34317823u);
  EXPECT_EQ(radix_sort_bytes(8192, 8, 8, 2), 137727u);
  EXPECT_EQ(radix_sort_bytes(100'000, 8, 0, 1), 20991u);
  EXPECT_EQ(radix_sort_bytes(1000, 4, 8), 1u);
  EXPECT_EQ(scan_bytes(1000, kCumsumTileItems), 1023u);
  EXPECT_EQ(scan_bytes(1 << 22, kCumsumTileItems), 18431u);
  EXPECT_EQ(scan_bytes(1 << 22, kRunLengthTileItems), 88319u);
  EXPECT_EQ(scan_bytes(1 << 22, kScanOfFlagsTileItems), 11775u);
  EXPECT_EQ(scan_bytes(1 << 22, kSelectTileItems), 8959u);
  EXPECT_EQ(scan_by_key_bytes(784), 1279u);
  EXPECT_EQ(device_reduce_bytes(1 << 22, 4, gpu_model("H100")), 21503u);
  EXPECT_EQ(device_reduce_bytes(1000, 4, gpu_model("H100")), 1u);
}

TEST(ReductionStaging, IsWhatWasRecorded) {
  const auto staging = [](std::vector<std::int64_t> sizes, std::vector<std::int64_t> dimensions,
                          Reduction reduction = {.accumulator_size_bytes = 4}) {
    const ReductionStaging result =
        reduction_staging(contiguous(std::move(sizes)), dimensions, reduction, gpu_model("H100"));
    return std::vector<std::uint64_t>{result.parts_bytes, result.semaphores_bytes};
  };
  EXPECT_THAT(staging({1 << 24, 1}, {}), ElementsAre(2112, 4));
  EXPECT_THAT(staging({1 << 24, 1}, {0}), ElementsAre(2112, 4));
  EXPECT_THAT(staging({1 << 24, 1}, {1}), ElementsAre(0, 0));
  EXPECT_THAT(staging({4096, 4096}, {0}), ElementsAre(134217728, 128));
  EXPECT_THAT(staging({4096, 4096}, {1}), ElementsAre(0, 0));
  EXPECT_THAT(staging({16, 1 << 20}, {0}), ElementsAre(0, 0));
  EXPECT_THAT(staging({16, 1 << 20}, {1}), ElementsAre(2112, 64));
  EXPECT_THAT(staging({1 << 20, 16}, {0}), ElementsAre(2097152, 4));
  EXPECT_THAT(staging({1 << 20, 16}, {-1}), ElementsAre(0, 0));
  const Reduction variance{.accumulator_size_bytes = 16, .values_under_way = 2};
  EXPECT_THAT(staging({4096, 4096}, {}, variance), ElementsAre(8448, 4));
  EXPECT_THAT(staging({}, {}), ElementsAre(0, 0));
  EXPECT_THAT(staging({0}, {}), ElementsAre(0, 0));
}

TEST(ReductionStaging, GoesByTheMultiprocessors) {
  const auto parts_bytes = [](const char* gpu) {
    return reduction_staging(contiguous({1 << 24}), {}, {.accumulator_size_bytes = 4},
                             gpu_model(gpu))
        .parts_bytes;
  };
  // An L4 has 58, of three blocks each. A T4 has 40 of two, but no thread takes more than 256
  // values.
  EXPECT_EQ(parts_bytes("L4"), 58u * 3 * 4);
  EXPECT_EQ(parts_bytes("T4"), 128u * 4);
}

TEST(Rules, LogSumExpIsMadeOfSeveral) {
  const TestCall call = TestCall("logsumexp")
                            .tensor(contiguous({4096, 4096}))
                            .integers({1})
                            .boolean(false)
                            .output(contiguous({4096}));
  EXPECT_THAT(call.events(),
              ElementsAre(16384, 16384, 4096, -4096, -16384, 67108864, 16384, -67108864, -16384));
}

TEST(Rules, SortHasNumbersAndCub) {
  const auto call = [](std::int64_t n) {
    return TestCall("sort")
        .tensor(contiguous({n}))
        .integer(0)
        .boolean(false)
        .output(contiguous({n}))
        .output(contiguous({n}, kInt64));
  };
  EXPECT_THAT(call(1000).events(), ElementsAre(4000, 8000, 8000, -8000));
  EXPECT_THAT(call(100'000).events(),
              ElementsAre(400000, 800000, 800000, 1228287, -1228287, -800000));
}

TEST(Rules, TopOfFewLongRowsSpreadsThem) {
  const auto call = [](std::int64_t rows, std::int64_t length, std::int64_t k) {
    return TestCall("topk")
        .tensor(contiguous({rows, length}))
        .integer(k)
        .integer(1)
        .boolean(true)
        .boolean(true)
        .output(contiguous({rows, k}))
        .output(contiguous({rows, k}, kInt64));
  };
  EXPECT_THAT(call(8, 12500, 8).events(), ElementsAre(256, 512));
  EXPECT_THAT(call(8, 524288, 8).events(),
              ElementsAre(256, 512, 32, 64, 64, 401408, 8192, 3136, 3136, 1279, -1279, 1279, -1279,
                          -3136, -3136, -8192, -401408, -64, -64, -32));
}

TEST(Rules, PermutationSortsRandomKeys) {
  const auto call = [](std::int64_t n) {
    return TestCall("randperm").integer(n).output(contiguous({n}, kInt64));
  };
  EXPECT_THAT(call(1000).events(),
              ElementsAre(8000, 8, -8, 8000, 4000, 4000, 1, -1, -4000, -4000, -8000));
  EXPECT_THAT(call(1 << 22).events(),
              ElementsAre(33554432, 8, -8, 33554432, 33554432, 33554432, 68054527, -68054527,
                          -33554432, -33554432, -33554432));
}

TEST(Rules, EmbeddingBackwardSortsMoreThan3072) {
  const auto call = [](std::int64_t picks) {
    return TestCall("embedding_dense_backward")
        .tensor(contiguous({picks, 768}))
        .tensor(contiguous({picks}, kInt64))
        .integer(50257)
        .integer(-1)
        .boolean(false)
        .output(contiguous({50257, 768}));
  };
  EXPECT_THAT(call(2048).events(), ElementsAre(154389504));
  const auto events = call(8192).events();
  EXPECT_THAT(events,
              testing::IsSupersetOf({65536, 150015, 154389504, 72088, 27681792, -27681792}));
}

TEST(Rules, AttentionIsTheGpusKernel) {
  const auto call = [](protocol::DataType dtype, bool is_by_length = false) {
    auto layout = contiguous({4, 8, 300, 80}, dtype);
    if (is_by_length) layout.strides = {300 * 8 * 80, 80, 8 * 80, 1};
    return TestCall("_scaled_dot_product_fused_attention_overrideable_backward")
        .tensor(layout)
        .tensor(layout)
        .tensor(layout)
        .tensor(layout)
        .none()
        .integers({1, 1, 1, 0})
        .tensor(layout)
        .output(layout)
        .output(layout)
        .output(layout);
  };
  EXPECT_THAT(call(kFloat16).events(), ElementsAre(1536000, 1536000, 1536000, 3110656, -3110656));
  // As models split their heads: FlashAttention copies nothing.
  EXPECT_THAT(call(kFloat16, true).events(gpu_model("A100")),
              ElementsAre(1536000, 1536000, 1536000, 49152, 4718592, -4718592, -49152));
  EXPECT_THAT(call(kFloat32).events(), ElementsAre(3072000, 3072000, 3072000, 3072000, 38400, 38400,
                                                   -38400, -3072000, 6294528, -38400, -6294528));
  EXPECT_THAT(call(kFloat16).events(gpu_model("H100"), {.attention = AttentionChoice::kFlash}),
              ElementsAre(1536000, 1536000, 1536000, 1536000, 1536000, 49152, 4718592, -4718592,
                          -49152, -1536000, -1536000));
  EXPECT_EQ(call(kFloat16).events(gpu_model("A100")),
            call(kFloat16).events(gpu_model("H100"), {.attention = AttentionChoice::kFlash}));
  EXPECT_THAT(call(kFloat16).events(gpu_model("T4")),
              ElementsAre(1536000, 1536000, 1536000, 38400, 6292992, -38400, -6292992));
}

TEST(Rules, FlashAttentionSplitsKeysWhereRowsAreFew) {
  const auto layout = contiguous({4, 8, 300, 80}, kFloat16);
  const TestCall call = TestCall("_scaled_dot_product_fused_attention_overrideable")
                            .tensor(layout)
                            .tensor(layout)
                            .tensor(layout)
                            .none()
                            .output(layout)
                            .output(contiguous({4, 8, 300}))
                            .output(contiguous({}, kInt64))
                            .output(contiguous({}, kInt64));
  EXPECT_THAT(call.events(gpu_model("H100"), {.attention = AttentionChoice::kFlash}),
              ElementsAre(1536000, 38400, 115200, 11059200, 16, 8, -115200, -11059200));
  EXPECT_THAT(call.events(), ElementsAre(8, 8, 1536000, 38400, 256, -256));
}

TestCall convolution(const protocol::TensorLayout& input, const protocol::TensorLayout& weight,
                     const protocol::TensorLayout& output, std::int64_t stride = 1,
                     std::int64_t groups = 1) {
  return TestCall("convolution")
      .tensor(input)
      .tensor(weight)
      .none()
      .integers({stride, stride})
      .integers({1, 1})
      .integers({1, 1})
      .boolean(false)
      .integers({0, 0})
      .integer(groups)
      .output(output);
}

std::int64_t largest(const std::vector<std::int64_t>& events) {
  return events.empty() ? 0 : *std::ranges::max_element(events);
}

TEST(Rules, ConvolutionsCopyWhatIsNotChannelsLast) {
  const TestCall planar = convolution(contiguous({64, 64, 56, 56}), contiguous({64, 64, 3, 3}),
                                      contiguous({64, 64, 56, 56}));
  // 102908051 was recorded.
  EXPECT_NEAR(static_cast<double>(largest(planar.events())), 102908051, 1000);
  const TestCall last = convolution(channels_last({64, 64, 56, 56}), channels_last({64, 64, 3, 3}),
                                    channels_last({64, 64, 56, 56}));
  EXPECT_THAT(last.events(), ElementsAre(51380224, 131, -131));
  const TestCall few = convolution(channels_last({64, 3, 224, 224}, kFloat16),
                                   channels_last({64, 3, 7, 7}, kFloat16),
                                   channels_last({64, 64, 112, 112}, kFloat16), 2);
  EXPECT_NEAR(static_cast<double>(few.events()[1]), 25715216, 1000);
}

TEST(Rules, ConvolutionsWithoutTensorCoresCopyNothing) {
  const TestCall call = convolution(contiguous({64, 64, 56, 56}), contiguous({64, 64, 3, 3}),
                                    contiguous({64, 64, 56, 56}));
  EXPECT_THAT(call.events(gpu_model("T4")), ElementsAre(51380224));
  EXPECT_THAT(call.events(gpu_model("H100"), {.allows_convolution_tf32 = false}),
              ElementsAre(51380224));
  const TestCall depthwise = convolution(contiguous({32, 96, 56, 56}), contiguous({96, 1, 7, 7}),
                                         contiguous({32, 96, 56, 56}), 1, 96);
  EXPECT_THAT(depthwise.events(), ElementsAre(38535168));
}

TEST(Rules, NormsOfOneForEachTensorKeepPartsOfAll) {
  std::vector<protocol::TensorLayout> tensors(60, contiguous({512, 512}));
  TestCall call("_foreach_norm", "Scalar");
  call.tensors(tensors);
  for (int i = 0; i < 60; ++i) call.output(contiguous({}));
  const auto events = call.events();
  ASSERT_EQ(events.size(), 62u);
  EXPECT_EQ(events.front(), 960);
  EXPECT_EQ(events[60], 4);
  EXPECT_EQ(events.back(), -960);
}

TEST(Rules, GroupNormBackwardKeepsSumsAndCoefficients) {
  const auto images = contiguous({32, 64, 56, 56});
  const TestCall call = TestCall("native_group_norm_backward")
                            .tensor(images)
                            .tensor(images)
                            .tensor(contiguous({32, 4}))
                            .tensor(contiguous({32, 4}))
                            .tensor(contiguous({64}))
                            .output(images)
                            .output(contiguous({64}))
                            .output(contiguous({64}));
  EXPECT_THAT(call.events(), ElementsAre(25690112, 256, 256, 8192, 8192, 512, 512, 8192, -512, -512,
                                         -8192, -8192, -8192));
}

// Rules meet whatever a program calls, also what makes no sense to them.
TEST(Rules, TakeCallsWithoutTheirArguments) {
  for (const char* name : {"convolution",
                           "convolution_backward",
                           "sum",
                           "sort",
                           "topk",
                           "index_put_",
                           "nonzero",
                           "embedding_dense_backward",
                           "native_group_norm",
                           "native_group_norm_backward",
                           "logsumexp",
                           "_scaled_dot_product_fused_attention_overrideable",
                           "_foreach_norm",
                           "multinomial",
                           "cumsum",
                           "median",
                           "randperm",
                           "addmm",
                           "native_batch_norm",
                           "native_layer_norm"}) {
    const TestCall bare(name);
    EXPECT_THAT(bare.events(), IsEmpty()) << name;
    TestCall empty(name);
    for (int i = 0; i < 4; ++i) empty.tensor(contiguous({0, 0, 0, 0}));
    empty.output(contiguous({0}));
    for (const std::int64_t event : empty.events()) EXPECT_LE(event, 8) << name;
  }
}

}  // namespace
}  // namespace torch_remote::emulator::workspace
