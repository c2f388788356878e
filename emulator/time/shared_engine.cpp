// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/shared_engine.h"

#include <algorithm>
#include <cstddef>

namespace torch_remote::emulator {
namespace {

constexpr std::size_t kIntervalsKeptMin = 256;

}  // namespace

void SharedEngine::append(Nanoseconds start_ns, Nanoseconds end_ns, Nanoseconds now_ns) {
  if (start_ns == end_ns) return;
  if (!intervals_.empty() && intervals_.back().end_ns == start_ns) {
    intervals_.back().end_ns = end_ns;
    return;
  }
  if (intervals_.size() >= tidy_at_) {
    std::erase_if(intervals_, [now_ns](const Interval& one) { return one.end_ns <= now_ns; });
    tidy_at_ = std::max(kIntervalsKeptMin, 2 * intervals_.size());
  }
  intervals_.push_back({start_ns, end_ns});
}

Nanoseconds SharedEngine::fill_gaps(Nanoseconds ready_ns, Nanoseconds work_ns) {
  if (work_ns == 0) return ready_ns;
  const auto first = std::ranges::lower_bound(intervals_, ready_ns, {}, &Interval::end_ns);
  Interval filled{.start_ns = std::min(ready_ns, first->start_ns), .end_ns = ready_ns};
  Nanoseconds left_ns = work_ns;
  auto next = first;
  for (; next != intervals_.end(); ++next) {
    const Nanoseconds gap_ns = std::max<Nanoseconds>(next->start_ns - filled.end_ns, 0);
    if (left_ns < gap_ns) break;
    left_ns -= gap_ns;
    filled.end_ns = next->end_ns;
    if (left_ns == 0 && gap_ns > 0) {
      // It ends where this interval begins.
      const Nanoseconds end_ns = next->start_ns;
      *first = filled;
      intervals_.erase(first + 1, next + 1);
      return end_ns;
    }
  }
  filled.end_ns += left_ns;
  const Nanoseconds end_ns = filled.end_ns;
  if (next == first) {
    intervals_.insert(first, filled);
  } else {
    *first = filled;
    intervals_.erase(first + 1, next);
  }
  return end_ns;
}

}  // namespace torch_remote::emulator
