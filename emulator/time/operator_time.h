// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// How long an operator takes on a GPU: a pure function of the operator, the plan of its call and
// the GPU's model. It is evaluated once a plan (some microseconds); the clock then only adds up.
//
// What is counted are the kernels that CUDA's libraries run for the operator, one after the other.
// Launching, waiting and copies between host and GPU are in launch_costs.h.
#pragma once

#include <string_view>
#include <vector>

#include "emulator/gpu_model.h"
#include "emulator/planned_operator.h"
#include "emulator/time/calibration.h"

namespace torch_remote::emulator {

// What bounds a kernel's time. A table by class tells users what their step is made of.
enum class KernelClass {
  kProduct,  // matrix products
  kConvolution,
  kAttention,
  kElementwise,
  kReduction,
  kNormalization,  // softmax and norms: rows that are read, reduced and written
  kScan,
  kSort,
  kIndexing,
  kCopy,  // copies, casts and changes of layout on the GPU
  kRandom,
  kOptimizer,
  kImage,  // pooling, resampling, padding
  kRecurrent,
  kTransform,  // Fourier transforms
  kLinearAlgebra,
};
inline constexpr int kKernelClassCount = 16;

// "product", "convolution", ...: lower case, for tables and traces.
std::string_view kernel_class_name(KernelClass kernel_class);

// Kernels of one kind that an operator runs: `count` of them, `us` microseconds together.
struct KernelTime {
  std::string_view name;  // of a kind of kernel, not CUDA's name: "matrix product"; static
  KernelClass kernel_class = KernelClass::kElementwise;
  int count = 1;
  double us = 0;
};

struct OperatorTime {
  // Sum of the kernels' durations on the GPU, without gaps between them. 0 where nothing runs
  // there.
  double gpu_us = 0;
  // What the call costs the program's thread until it may go on, with Python and autograd around
  // it.
  double host_us = 0;
  // Kernels that are launched; each takes a gap on the GPU of its own (launch_costs.h).
  int kernel_count = 0;
  std::vector<KernelTime> kernels{};
};

// Settings of PyTorch that change kernels. Defaults are PyTorch's.
struct PrecisionSettings {
  bool allow_tf32_in_products = false;     // torch.backends.cuda.matmul.allow_tf32
  bool allow_tf32_in_convolutions = true;  // torch.backends.cudnn.allow_tf32

  friend bool operator==(const PrecisionSettings&, const PrecisionSettings&) = default;
};

// Where an operator's inputs are when it begins. In a program, what a kernel reads was written or
// read a while ago; where a benchmark calls the same operator over and over, it is in the L2 cache.
enum class CacheState { kProgram, kRepeated, kCold };

// Throws nothing but std::bad_alloc. An operator that no table knows is timed by the bytes it
// moves.
OperatorTime operator_time(const PlannedOperator& planned, const GpuModel& gpu,
                           const PrecisionSettings& settings = {},
                           CacheState cache = CacheState::kProgram,
                           const Calibration& calibration = default_calibration());

// The plain roofline at the data sheet's peaks, the baseline that benchmarks print beside: the
// larger of operations over peak rate and bytes over bandwidth. In microseconds.
double roofline_us(const PlannedOperator& planned, const GpuModel& gpu,
                   const PrecisionSettings& settings = {});

}  // namespace torch_remote::emulator
