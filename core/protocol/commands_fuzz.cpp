// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// libFuzzer: arbitrary bytes as commands; core/protocol/golden/ is a good corpus to begin with.
#include <cstddef>
#include <cstdint>

#include "core/protocol/fuzz_targets_for_test.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  torch_remote::protocol::fuzz_commands(std::as_bytes(std::span(data, size)));
  return 0;
}
