// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// libFuzzer: arbitrary seeds, offsets, threads and sizes; what is made in runs is made of blocks.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "emulator/random/attention_dropout.h"
#include "emulator/random/grid.h"
#include "emulator/random/philox.h"
#include "emulator/random/poisson.h"
#include "emulator/random/transforms.h"

namespace {

namespace random_numbers = torch_remote::emulator::random;

struct Input {
  std::uint64_t seed, draw, thread, offset;
  std::uint32_t multiprocessor_count, element_count, query_count, key_count;
  float rate, chance;
};

void require(bool holds) {
  if (!holds) std::abort();
}

void check_runs(const Input& in) {
  static random_numbers::RunBits bits;
  const std::size_t count = in.element_count % random_numbers::kRunMax + 1;
  random_numbers::philox_threads(in.seed, in.draw, in.thread, count, bits);
  const auto last = random_numbers::philox(in.seed, in.draw, in.thread + count - 1);
  for (std::size_t lane = 0; lane < 4; ++lane) require(bits[lane][count - 1] == last[lane]);
  std::vector<float> values(count), more(count);
  random_numbers::uniform_floats(bits[0].data(), count, values.data());
  for (const float value : values) require(value > 0 && value <= 1);
  random_numbers::normal_floats(bits[0].data(), bits[1].data(), count, values.data(), more.data());
  for (const float value : values) require(value > -7 && value < 7);
}

void check_grid(const Input& in) {
  const random_numbers::Card card{.multiprocessor_count = in.multiprocessor_count % 1000 + 1,
                                  .max_threads_per_multiprocessor = 2048};
  const auto covered = random_numbers::cover(card, std::uint64_t{in.element_count} + 1, 4);
  require(covered.threads * covered.per_draw * covered.draws > in.element_count);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in{};
  if (size < sizeof(in)) return 0;
  std::memcpy(&in, data, sizeof(in));
  check_runs(in);
  check_grid(in);
  const random_numbers::ScoresShape shape{
      .head_count = 2, .query_count = in.query_count % 50 + 1, .key_count = in.key_count % 70 + 1};
  std::vector<float> kept(shape.element_count(), -1);
  const double dropout = in.chance >= 0 && in.chance <= 1 ? in.chance : 0.5;
  random_numbers::flash_kept(shape, in.seed, in.offset, dropout, kept);
  random_numbers::efficient_kept(shape, in.seed, in.offset, dropout, kept);
  if (in.rate >= 0 && in.rate < 1e6f) {
    random_numbers::ThreadNumbers numbers(in.seed, in.thread, in.offset);
    random_numbers::poisson_number(numbers, in.rate);
  }
  return 0;
}
