// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Compares the model with PyTorch's own allocator: 1,000 random programs, all statistics, addresses
// and error texts after each step. data/pytorch_runs.bin has what libc10_cuda.so of torch 2.14.1
// did (pytorch/record_runs.py). A program that differs is seen step by step with
// `pytorch_run SEED --text` beside describe() of this run.
#include "emulator/allocator/reference/model_run.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <ios>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "emulator/allocator/allocator_statistics.h"
#include "emulator/allocator/reference/random_program.h"
#include "emulator/allocator/reference/record.h"

namespace torch_remote::emulator::reference {
namespace {

// The recorded bytes of each program.
std::vector<std::vector<char>> recorded_runs() {
  const auto path = std::filesystem::path(__FILE__).parent_path() / "data" / "pytorch_runs.bin";
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  std::size_t place = 0;
  const auto number = [&] {
    std::uint32_t value = 0;
    if (place + sizeof(value) > bytes.size()) throw std::runtime_error(path.string() + " is short");
    std::memcpy(&value, bytes.data() + place, sizeof(value));
    place += sizeof(value);
    return value;
  };
  std::vector<std::vector<char>> runs(number());
  for (auto& run : runs) {
    const std::size_t size = number();
    if (place + size > bytes.size()) throw std::runtime_error(path.string() + " is short");
    run.assign(bytes.begin() + static_cast<std::ptrdiff_t>(place),
               bytes.begin() + static_cast<std::ptrdiff_t>(place + size));
    place += size;
  }
  return runs;
}

template <typename Number>
std::vector<Number> numbers_at(const std::vector<char>& bytes, std::size_t place,
                               std::size_t count) {
  std::vector<Number> numbers(count);
  if (place + count * sizeof(Number) > bytes.size()) throw std::runtime_error("a run is short");
  std::memcpy(numbers.data(), bytes.data() + place, count * sizeof(Number));
  return numbers;
}

// What the programs met, to know that they tested it.
struct Coverage {
  std::int64_t steps = 0;
  std::int64_t errors = 0;
  std::int64_t retries = 0;
  std::int64_t oversize_segments = 0;
  std::int64_t rejections = 0;
  std::int64_t splits = 0;
  int expandable = 0;
  int garbage = 0;
  int roundup = 0;
  int streams = 0;
};

TEST(ModelRun, IsPyTorchsAllocatorAfterEachStepOfAThousandPrograms) {
  const auto runs = recorded_runs();
  ASSERT_EQ(runs.size(), 1000u);
  Coverage coverage;
  for (std::size_t seed = 0; seed < runs.size(); ++seed) {
    const Program program = random_program(seed);
    const auto expected = numbers_at<std::uint32_t>(runs[seed], 0, program.steps.size());
    ModelRun run(program);
    std::int64_t retries = 0;
    for (std::size_t step = 0; step < program.steps.size(); ++step) {
      const StepResult result = run.step(program.steps[step]);
      const AllocatorStatistics& statistics = run.allocator().statistics();
      ASSERT_EQ(fingerprint(statistics, result), expected[step])
          << "program " << seed << " with \"" << program.settings << "\", step " << step << ": "
          << describe(statistics, result);
      coverage.errors += result.error.empty() ? 0 : 1;
      coverage.rejections += result.error.find("preemptively") != std::string::npos ? 1 : 0;
      coverage.retries += statistics.num_alloc_retries > retries ? 1 : 0;
      retries = statistics.num_alloc_retries;
    }
    const AllocatorStatistics& statistics = run.allocator().statistics();
    if (seed % 10 == 0) {
      const auto all = numbers_of(statistics);
      EXPECT_EQ(numbers_at<std::int64_t>(runs[seed], expected.size() * 4, all.size()), all);
    }
    coverage.steps += static_cast<std::int64_t>(program.steps.size());
    coverage.oversize_segments += statistics.oversize_segments.allocated;
    coverage.splits += statistics.inactive_split.all.allocated;
    coverage.expandable += program.settings.find("expandable_segments:True") == 0 ? 1 : 0;
    coverage.garbage += program.settings.find("garbage") != std::string::npos ? 1 : 0;
    coverage.roundup += program.settings.find("roundup") != std::string::npos ? 1 : 0;
    coverage.streams += program.stream_count > 1 ? 1 : 0;
  }
  EXPECT_GT(coverage.steps, 170'000);
  EXPECT_GT(coverage.errors, 800);
  EXPECT_GT(coverage.retries, 1'500);
  EXPECT_GT(coverage.rejections, 3);
  EXPECT_GT(coverage.oversize_segments, 700);
  EXPECT_GT(coverage.splits, 25'000);
  EXPECT_GT(coverage.expandable, 250);
  EXPECT_GT(coverage.garbage, 250);
  EXPECT_GT(coverage.roundup, 300);
  EXPECT_GT(coverage.streams, 500);
}

// A copy goes on by itself, and the same way.
TEST(ModelRun, OfACopyGoesOnAsTheOriginal) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const Program program = random_program(seed);
    ModelRun run(program);
    const std::size_t half = program.steps.size() / 2;
    for (std::size_t step = 0; step < half; ++step) run.step(program.steps[step]);
    ModelRun copy = run;
    const AllocatorStatistics at_half = copy.allocator().statistics();
    for (std::size_t step = half; step < program.steps.size(); ++step)
      run.step(program.steps[step]);
    ASSERT_EQ(copy.allocator().statistics(), at_half);
    for (std::size_t step = half; step < program.steps.size(); ++step)
      copy.step(program.steps[step]);
    ASSERT_EQ(copy.allocator().statistics(), run.allocator().statistics()) << "program " << seed;
  }
}

}  // namespace
}  // namespace torch_remote::emulator::reference
