// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What of the allocator differs between versions of PyTorch.
#pragma once

#include <cstdint>

namespace torch_remote::emulator {

// Each begins with a change:
//   kTorch2_11: the error's text names PYTORCH_CUDA_ALLOC_CONF, and another page.
//   kTorch2_14: of blocks of one size the oldest segment's is taken, before that of the lowest
//               address; and expandable segments aren't recommended to whoever has them.
// Recordings of GPUs with 2.11 and the library of 2.14.1 show it; 2.12 and 2.13, of which there is
// neither, are taken for 2.14, whose numbers of segments they have.
enum class AllocatorVersion : std::uint8_t { kBeforeTorch2_11, kTorch2_11, kTorch2_14 };

constexpr AllocatorVersion allocator_version(int torch_major, int torch_minor) {
  const int number = torch_major * 1000 + torch_minor;
  if (number < 2011) return AllocatorVersion::kBeforeTorch2_11;
  return number < 2012 ? AllocatorVersion::kTorch2_11 : AllocatorVersion::kTorch2_14;
}

}  // namespace torch_remote::emulator
