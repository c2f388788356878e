// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A CUDA runtime without a GPU (fake_cudart.cpp), and what the run says to it.
#pragma once

#include <cstdint>

extern "C" {

// Before anything else: the device's memory, and what of it is used.
void fake_cuda_set_memory(std::uint64_t total_bytes, std::uint64_t used_bytes);
// The stream has done what it was given; nullptr is the default stream.
void fake_cuda_advance(void* stream);
void fake_cuda_advance_all();
}
