// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What kernels have to do, without regard to the GPU: the step between an operator's plan
// (operator_work.h) and a duration (kernel_duration.h).
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "emulator/attention_kernel.h"
#include "emulator/time/operator_time.h"

namespace torch_remote::emulator {

// What multiplies and adds. A GPU that lacks a unit for a dtype takes another one, slower.
enum class MathUnit { kFp64, kFp32, kTf32, kFp16, kBf16, kFp8, kInt8 };

// `batch` products of (m, k) by (k, n).
struct Product {
  double batch = 1;
  double m = 0;
  double n = 0;
  double k = 0;
  MathUnit unit = MathUnit::kFp32;
  double operand_size_bytes = 4;
  bool is_aligned =
      true;               // rows begin at multiples of 16 bytes, as tensor cores' fast kernels need
  double rate_share = 1;  // of what a plain product reaches
};

// Scaled dot product attention in one kernel.
struct FusedAttention {
  double heads = 1;  // of all batches
  double query_length = 0;
  double key_length = 0;
  double width = 0;
  double pair_share = 1;  // of all pairs of query and key that are computed: half of them if causal
  bool is_backward = false;
  MathUnit unit = MathUnit::kFp16;
  AttentionKernel kernel = AttentionKernel::kFlash;
};

// What kernels of streams of elements are limited by beside memory. Rates are in a multiprocessor's
// clock cycles.
struct Streaming {
  double elements = 0;
  double cycles_per_element = 0;
  // Independent pieces of work and how many of them keep a multiprocessor busy; 0: plenty.
  double pieces = 0;
  double pieces_per_multiprocessor = 1;
};

struct KernelWork {
  std::string_view name{};
  KernelClass kernel_class = KernelClass::kElementwise;
  double launches = 1;
  double read_bytes = 0;
  double written_bytes = 0;
  // Distinct bytes, which decide what the L2 cache can hold; 0: all that are read and written.
  double footprint_bytes = 0;
  double bandwidth_share = 1;  // of what a copy reaches
  Streaming streaming{};
  std::optional<Product> product{};
  std::optional<FusedAttention> attention{};
  double extra_us = 0;  // chains of dependent steps
};

// Floating-point operations, two for each multiply-add.
double operation_count(const KernelWork& work);

}  // namespace torch_remote::emulator
