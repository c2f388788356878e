// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/lifetime.h"

namespace torch_remote::executor {
namespace {

bool is_reached(const std::optional<std::chrono::seconds>& limit, Lifetime::Time since,
                Lifetime::Time now) {
  return limit && now - since >= *limit;
}

std::string seconds(const std::optional<std::chrono::seconds>& limit) {
  return std::to_string(limit->count()) + " s";
}

}  // namespace

std::optional<std::string> Lifetime::over(Time now) const {
  if (is_reached(limits_.total, start_, now))
    return "its lifetime of " + seconds(limits_.total) + " is over";
  if (is_reached(limits_.lease, heard_, now))
    return "nothing was heard of a client for " + seconds(limits_.lease) +
           ", the length of its lease";
  if (is_reached(limits_.idle, worked_, now))
    return "nothing was computed for " + seconds(limits_.idle) + ", its idle timeout";
  return std::nullopt;
}

}  // namespace torch_remote::executor
