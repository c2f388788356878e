// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Lets a memory model watch a session: the emulated GPU is out of memory at the call where the real
// one would be.
#pragma once

#include <cstdint>
#include <utility>

#include "core/session/errors.h"
#include "core/session/observer.h"
#include "emulator/memory_model.h"

namespace torch_remote {

class MemoryObserver final : public session::SessionObserver {
 public:
  explicit MemoryObserver(MemoryModel model) : model_(std::move(model)) {}

  // Throws session::OutOfMemory with CUDA's text.
  void allocate(session::TensorId /*id*/, std::uint64_t size_bytes) override {
    try {
      model_.allocate(size_bytes);
    } catch (const OutOfMemory& error) {
      throw session::OutOfMemory(error.what());
    }
  }
  void free(session::TensorId /*id*/, std::uint64_t size_bytes) noexcept override {
    model_.free(size_bytes);
  }

 private:
  MemoryModel model_;
};

}  // namespace torch_remote
