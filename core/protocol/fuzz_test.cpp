// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The fuzzers without a fuzzing engine: all golden bytes and some thousand deterministic mutations
// of them, so that every compiler and sanitizer runs them.
#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <random>

#include "core/protocol/fuzz_targets_for_test.h"
#include "core/protocol/golden_for_test.h"

namespace torch_remote::protocol {
namespace {

using Input = std::vector<std::byte>;

constexpr unsigned kSeed = 20260101;
constexpr int kMutationsPerFile = 400;

std::vector<Input> corpus() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder())) {
    paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  std::vector<Input> inputs;
  for (const auto& path : paths) inputs.push_back(read_golden(path));
  return inputs;
}

// One of the changes that find most: a byte, a word at its edges, a cut, a repetition, a splice.
void mutate(Input& input, const std::vector<Input>& others, std::mt19937& random) {
  const auto below = [&](std::size_t limit) { return random() % std::max<std::size_t>(limit, 1); };
  if (input.empty()) input.resize(1);
  const std::size_t position = below(input.size());
  const auto at = input.begin() + static_cast<std::ptrdiff_t>(position);
  switch (random() % 5) {
    case 0:
      *at = static_cast<std::byte>(random());
      break;
    case 1: {
      constexpr std::uint32_t kEdges[] = {0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 256, 65536};
      const std::uint32_t edge = kEdges[below(std::size(kEdges))];
      std::memcpy(&*at, &edge, std::min(sizeof(edge), input.size() - position));
      break;
    }
    case 2:
      input.resize(position);
      break;
    case 3: {
      const Input part(at, at + static_cast<std::ptrdiff_t>(below(input.size() - position)));
      input.insert(input.end(), part.begin(), part.end());
      break;
    }
    default: {
      const Input& other = others[below(others.size())];
      input.resize(position);
      input.insert(input.end(), other.begin(), other.end());
    }
  }
}

void run(void (*target)(std::span<const std::byte>)) {
  const std::vector<Input> inputs = corpus();
  ASSERT_GE(inputs.size(), 20u);
  std::mt19937 random(kSeed);
  for (const Input& original : inputs) {
    target(original);
    for (int i = 0; i < kMutationsPerFile; ++i) {
      Input input = original;
      for (std::size_t changes = 1 + random() % 4; changes > 0; --changes) {
        mutate(input, inputs, random);
      }
      target(Input(input));  // a copy of exactly its size: a sanitizer sees reads past the end
    }
  }
}

TEST(FuzzTest, Envelope) { run(&fuzz_envelope); }
TEST(FuzzTest, Hello) { run(&fuzz_hello); }
TEST(FuzzTest, Plan) { run(&fuzz_plan); }
TEST(FuzzTest, Commands) { run(&fuzz_commands); }
TEST(FuzzTest, Replies) { run(&fuzz_replies); }

}  // namespace
}  // namespace torch_remote::protocol
