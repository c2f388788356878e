// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// One number for what an operator means, so that a client and an executor whose torch versions
// differ agree operator by operator, or say so.
#pragma once

#include <cstdint>
#include <string_view>

namespace torch_remote::protocol {

// FNV-1a, 64 bits, of the operator's schema as PyTorch writes it (c10::toString(FunctionSchema)).
constexpr std::uint64_t schema_hash(std::string_view schema_text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char character : schema_text) {
    hash ^= static_cast<unsigned char>(character);
    hash *= 0x100000001b3;
  }
  return hash;
}

}  // namespace torch_remote::protocol
