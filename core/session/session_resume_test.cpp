// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A connection that breaks under a running program, which must not notice: exactly once, in order.
#include <gtest/gtest.h>
#include <iostream>
#include <random>

#include "core/executor/running_server.h"
#include "core/session/byte_program_for_test.h"
#include "core/session/faulty_channel_for_test.h"
#include "core/transport/tcp_proxy_for_test.h"

namespace torch_remote::session {
namespace {

// A random program on a few tensors beside the same program on local bytes. before_step(i) may do
// something to the network.
void run_random_program(ByteProgram& program, int steps, unsigned seed,
                        const std::function<void(int)>& before_step) {
  struct Tensor {
    TensorId id;
    Bytes expected;
  };
  std::mt19937 random(seed);
  std::vector<Tensor> tensors;
  for (const std::size_t size : {8, 100, 5000, 40'000}) {
    const Bytes bytes = pattern(size, static_cast<unsigned>(random()));
    tensors.push_back({program.make(bytes), bytes});
  }
  for (int step = 0; step < steps; ++step) {
    before_step(step);
    Tensor& tensor = tensors[random() % tensors.size()];
    const std::size_t size = tensor.expected.size();
    switch (random() % 16) {
      case 0: {
        const TensorId copy = program.copy(tensor.id, size);
        program.session().free(std::exchange(tensor.id, copy), size);
        break;
      }
      case 1: {
        tensor.expected = pattern(size, static_cast<unsigned>(random()));
        program.session().write(tensor.id, 0, tensor.expected);
        break;
      }
      case 2:
        if (step % 4 == 0) {
          ASSERT_EQ(program.read(tensor.id, size), tensor.expected) << "step " << step;
        }
        break;
      default: {
        const auto amount = random() % 256;
        program.add(tensor.id, size, amount);
        for (std::byte& byte : tensor.expected) {
          byte = static_cast<std::byte>(std::to_integer<unsigned>(byte) + amount);
        }
      }
    }
  }
  for (const Tensor& tensor : tensors) {
    ASSERT_EQ(program.read(tensor.id, tensor.expected.size()), tensor.expected);
  }
  program.session().synchronize();
}

TEST(SessionResumeTest, ABadNetworkChangesNoByte) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Faults faults;
    const executor::InProcessExecutor executor(executor::byte_executor_factory());
    const std::uint64_t session_id = next_session_id();
    auto inner = transport::connect_channel(executor.context(), executor.endpoint(), session_id);
    ByteProgram program(std::make_unique<FaultyChannel>(std::move(inner), seed, faults),
                        executor.endpoint(), session_id);
    run_random_program(program, 2000, seed, [&](int step) {
      if (step % 8 == 0) program.session().synchronize();  // more messages, more faults
    });
    program.session().close();
    std::cout << "seed " << seed << ": " << faults.breaks << " breaks, " << faults.dropped
              << " messages dropped, " << faults.duplicated << " duplicated, " << faults.delayed
              << " delayed\n";
    EXPECT_GT(faults.breaks, 0);
    EXPECT_GT(faults.dropped, 0);
    EXPECT_GT(faults.duplicated, 0);
    EXPECT_GT(faults.delayed, 0);
  }
}

TEST(SessionResumeTest, ACutConnectionResumesUnnoticed) {
  const executor::RunningServer server(executor::byte_executor_factory());
  transport::TcpProxy proxy(server.endpoint());
  ByteProgram program(proxy.endpoint());
  run_random_program(program, 1000, 5, [&](int step) {
    if (step % 250 != 100) return;
    const int cuts = proxy.cuts();
    proxy.cut();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (proxy.cuts() == cuts && std::chrono::steady_clock::now() < deadline) {
      program.session().synchronize();  // makes sure that there is a connection to be cut
      if (proxy.cuts() == cuts) proxy.cut();
    }
  });
  EXPECT_GE(proxy.cuts(), 4);
  EXPECT_GE(proxy.connections(), 5);
}

TEST(SessionResumeTest, AReadThatWaitsWhileTheConnectionBreaksIsAnswered) {
  Gate gate;
  const executor::RunningServer server(
      executor::byte_executor_factory({.before_call = gate.waiter()}));
  transport::TcpProxy proxy(server.endpoint());
  ByteProgram program(proxy.endpoint());
  const TensorId x = program.make(pattern(3 << 20));
  program.add(x, 3 << 20, 1);
  auto reading = std::async(std::launch::async, [&] { return program.read(x, 3 << 20); });
  proxy.cut();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (proxy.connections() < 2 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  gate.open();
  EXPECT_EQ(reading.get(), pattern(3 << 20, 1));
}

}  // namespace
}  // namespace torch_remote::session
