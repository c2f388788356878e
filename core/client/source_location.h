// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Where in the user's program an operation was called. The Python front knows
// (python/torch_remote); the client carries the number along, since an error may come back long
// after the line has passed.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace torch_remote::client {

// Both are called on whatever thread runs an operation, with or without the interpreter's lock.
struct SourceLocationHooks {
  // A number for the line of the user's program that is running; 0 when there is none.
  std::uint32_t (*capture)() noexcept = nullptr;
  // "file.py:12 in function"; may take the interpreter's lock. Empty when the number says nothing.
  std::string (*describe)(std::uint32_t location) = nullptr;
};

// Null until a front end is loaded. The pointee has to live as long as the process.
inline std::atomic<const SourceLocationHooks*> source_location_hooks{nullptr};

inline std::uint32_t capture_source_location() noexcept {
  const SourceLocationHooks* hooks = source_location_hooks.load(std::memory_order_acquire);
  return hooks == nullptr ? 0 : hooks->capture();
}

inline std::string describe_source_location(std::uint32_t location) {
  const SourceLocationHooks* hooks = source_location_hooks.load(std::memory_order_acquire);
  return hooks == nullptr || location == 0 ? std::string() : hooks->describe(location);
}

}  // namespace torch_remote::client
