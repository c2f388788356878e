// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// When an executor ends by itself. A rented machine costs money as long as it runs, and its client
// may be gone without a word, so the decision has to be made here.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace torch_remote::executor {

struct LifetimeLimits {
  // Since anything was computed. A client that is connected and does nothing costs as much.
  std::optional<std::chrono::seconds> idle{};
  // Since anything was heard of a client. Clients say that they live every five seconds.
  std::optional<std::chrono::seconds> lease{};
  // Since the start.
  std::optional<std::chrono::seconds> total{};
};

// Not thread-safe. Times are told, so that tests need not wait.
class Lifetime {
 public:
  using Time = std::chrono::steady_clock::time_point;

  Lifetime(LifetimeLimits limits, Time start)
      : limits_(limits), start_(start), heard_(start), worked_(start) {}

  void heard(Time now) { heard_ = now; }
  void worked(Time now) { worked_ = now; }

  // Why the executor should end now; nothing while it should go on.
  std::optional<std::string> over(Time now) const;

 private:
  LifetimeLimits limits_;
  Time start_;
  Time heard_;
  Time worked_;
};

}  // namespace torch_remote::executor
