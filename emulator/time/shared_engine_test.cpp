// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/shared_engine.h"

#include <algorithm>
#include <cstddef>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace torch_remote::emulator {
namespace {

TEST(SharedEngine, WorkThatMeetsNobodyIsDoneAtOnce) {
  SharedEngine engine;
  EXPECT_EQ(engine.reserve(10, 5, 0), 15);
  EXPECT_EQ(engine.reserve(15, 5, 0), 20);
  EXPECT_EQ(engine.reserve(30, 5, 0), 35);
}

TEST(SharedEngine, WorkWaitsForWhatIsReserved) {
  SharedEngine engine;
  engine.reserve(10, 10, 0);
  EXPECT_EQ(engine.reserve(12, 5, 0), 25);
}

TEST(SharedEngine, WorkFillsGaps) {
  SharedEngine engine;
  engine.reserve(10, 10, 0);  // 10-20
  engine.reserve(30, 10, 0);  // 30-40
  EXPECT_EQ(engine.reserve(0, 4, 0), 4);
  EXPECT_EQ(engine.reserve(5, 5, 0), 10);    // exactly up to 10
  EXPECT_EQ(engine.reserve(12, 15, 0), 45);  // 20-30 and 40-45
  EXPECT_EQ(engine.reserve(4, 1, 0), 5);     // what is still free before
  EXPECT_EQ(engine.reserve(0, 1, 0), 46);
}

TEST(SharedEngine, NoWorkTakesNoTime) {
  SharedEngine engine;
  engine.reserve(10, 10, 0);
  EXPECT_EQ(engine.reserve(12, 0, 0), 12);
  EXPECT_EQ(engine.reserve(50, 0, 0), 50);
}

// One flag for each nanosecond: what the intervals stand for.
class FlagsEngine {
 public:
  Nanoseconds reserve(Nanoseconds ready_ns, Nanoseconds work_ns) {
    auto now = static_cast<std::size_t>(ready_ns);
    for (Nanoseconds left = work_ns; left > 0; ++now) {
      if (now >= busy_.size()) busy_.resize(now + 1);
      if (busy_[now]) continue;
      busy_[now] = true;
      --left;
    }
    return static_cast<Nanoseconds>(now);
  }

 private:
  std::vector<bool> busy_;
};

TEST(SharedEngine, IsAFlagForEachNanosecond) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    SharedEngine engine;
    FlagsEngine expected;
    Nanoseconds now_ns = 0;
    for (int i = 0; i < 3000; ++i) {
      now_ns += random() % 4;
      const Nanoseconds ready_ns = now_ns + random() % 40;
      const Nanoseconds work_ns = random() % 6;
      ASSERT_EQ(engine.reserve(ready_ns, work_ns, now_ns), expected.reserve(ready_ns, work_ns))
          << "seed " << seed << ", step " << i;
    }
  }
}

}  // namespace
}  // namespace torch_remote::emulator
