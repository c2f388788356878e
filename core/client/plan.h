// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the client remembers of a plan: how to make the results of a call without asking anybody.
#pragma once

#include <c10/core/ScalarType.h>
#include <c10/util/SmallVector.h>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace torch_remote::client {

struct PlannedTensor {
  c10::ScalarType dtype = c10::ScalarType::Float;
  c10::SmallVector<std::int64_t, 5> sizes;
  c10::SmallVector<std::int64_t, 5> strides;
  std::uint64_t storage_size_bytes = 0;
  std::uint8_t flags = 0;  // protocol::kConjugateFlag, kNegativeFlag
};

struct PlannedReturn {
  enum class Kind : std::uint8_t { kTensor, kUndefined, kArgument, kList, kInteger };
  Kind kind = Kind::kUndefined;
  std::int64_t value = 0;  // kArgument: which; kList: how many of the tensors; kInteger: the value
};

// Whose kernels the executor runs: their results differ in dtypes here and there.
enum class Kernels : std::uint8_t { kCpu, kAccelerator, kNone };

struct ClientPlan {
  std::vector<PlannedReturn> returns;
  std::vector<PlannedTensor> tensors;  // the fresh ones, in the order of the returns
  // out= arguments that have to take another shape before the call (and then make another plan).
  struct Resize {
    std::size_t argument;
    std::vector<std::int64_t> sizes;
    std::vector<std::int64_t> strides;
  };
  std::vector<Resize> resizes;
  bool describes_outputs = false;  // only the executor can know the outputs
  Kernels kernels = Kernels::kCpu;
};

}  // namespace torch_remote::client
