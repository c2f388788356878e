// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// An observer of a session that models its GPU's memory. Through this interface the memory
// functions of torch.remote reach the model, whatever else the observer does.
#pragma once

#include "emulator/allocator/caching_allocator.h"

namespace torch_remote::emulator {

// Guarded by the session's lock: Session::with_observer_at_rest().
class ModelsMemory {
 public:
  virtual ~ModelsMemory() = default;

  // Of the GPU that the program runs on.
  virtual CachingAllocator& allocator() = 0;
};

}  // namespace torch_remote::emulator
