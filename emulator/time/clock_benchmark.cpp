// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the clock costs an operation: one GPU, and nine in a row as a comparison has them.
#include "emulator/time/clock.h"

#include <benchmark/benchmark.h>
#include <cstdint>
#include <vector>

namespace torch_remote::emulator {
namespace {

constexpr int kGpuCount = 9;

// Kernels of microseconds, for which the GPU waits (host 10), or which it has queued (host 1).
void launch(benchmark::State& state, std::uint32_t stream_count) {
  std::vector<Clock> clocks(static_cast<std::size_t>(state.range(0)),
                            Clock(clock_costs(launch_costs(gpu_model("H100")))));
  const OperationCost cost{.gpu_ns = 5'000,
                           .host_ns = static_cast<std::uint32_t>(state.range(1)) * 1'000,
                           .kernel_count = 1};
  std::uint32_t operation = 0;
  for (auto _ : state) {
    for (Clock& clock : clocks) clock.launch(operation % stream_count, cost);
    ++operation;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}

void one_stream(benchmark::State& state) { launch(state, 1); }
void two_streams(benchmark::State& state) { launch(state, 2); }

BENCHMARK(one_stream)->ArgsProduct({{1, kGpuCount}, {1, 10}});
BENCHMARK(two_streams)->ArgsProduct({{1, kGpuCount}, {1, 10}});

}  // namespace
}  // namespace torch_remote::emulator
