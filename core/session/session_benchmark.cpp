// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the client without torch costs: a call's way into the batch and to an executor that computes
// nothing, a storage's life, and a round trip within the process.
#include "core/session/session.h"

#include <array>
#include <benchmark/benchmark.h>
#include <memory>

#include "core/executor/in_process.h"
#include "core/executor/null_executor.h"

namespace torch_remote::session {
namespace {

constexpr std::uint64_t kSessionId = 1;
constexpr int kSynchronizeEvery = 1 << 20;  // bounds what lies between two waits

class NullSession {
 public:
  NullSession()
      : executor_(executor::null_executor_factory()),
        session_(transport::connect_channel(executor_.context(), executor_.endpoint(), kSessionId),
                 executor_.endpoint(), kSessionId, {}) {
    // Plan 0: an operator that reads one tensor and takes a number, 16 bytes of values.
    protocol::ByteWriter plan;
    put_plan(plan, {.arguments = {{.kind = protocol::ArgumentKind::kTensor,
                                   .layout = {.dtype = 6, .sizes = {16, 16}, .strides = {16, 1}}},
                                  {.kind = protocol::ArgumentKind::kVaryingInteger}}});
    auto turn = session_.turn();
    turn.define_operator(0, 0, "test::operator", "");
    turn.define_plan(plan.bytes());
  }
  Session* operator->() { return &session_; }

 private:
  executor::InProcessExecutor executor_;
  Session session_;
};

void synchronize_now_and_then(NullSession& session, std::int64_t iteration) {
  if (iteration % kSynchronizeEvery == kSynchronizeEvery - 1) session->synchronize();
}

void append_call(benchmark::State& state) {
  NullSession session;
  const TensorId id = session->turn().allocate(1024);
  std::int64_t iteration = 0;
  for (auto _ : state) {
    const std::array<std::uint64_t, 2> values = {id, 1};
    session->turn().call(0, 0, std::as_bytes(std::span(values)));
    synchronize_now_and_then(session, iteration++);
  }
  session->synchronize();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(append_call)->UseRealTime();

void allocate_and_free(benchmark::State& state) {
  NullSession session;
  std::int64_t iteration = 0;
  for (auto _ : state) {
    const TensorId id = session->turn().allocate(1024);
    session->free(id, 1024);
    synchronize_now_and_then(session, iteration++);
  }
  session->synchronize();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(allocate_and_free)->UseRealTime();

void read(benchmark::State& state) {
  NullSession session;
  std::vector<std::byte> destination(static_cast<std::size_t>(state.range(0)));
  const TensorId id = session->turn().allocate(destination.size());
  for (auto _ : state) session->read(id, 0, destination);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(read)->Arg(4)->Arg(16 << 10)->Arg(16 << 20)->UseRealTime();

void write(benchmark::State& state) {
  NullSession session;
  const std::vector<std::byte> source(static_cast<std::size_t>(state.range(0)));
  const TensorId id = session->turn().allocate(source.size());
  for (auto _ : state) session->write(id, 0, source);
  session->synchronize();
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(write)->Arg(4)->Arg(16 << 10)->Arg(16 << 20)->UseRealTime();

}  // namespace
}  // namespace torch_remote::session
