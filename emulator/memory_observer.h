// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Lets a memory model watch a session: the emulated GPU is out of memory at the call where the real
// one would be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/session/errors.h"
#include "core/session/observer.h"
#include "emulator/memory_model.h"

namespace torch_remote {

class MemoryObserver final : public session::SessionObserver {
 public:
  explicit MemoryObserver(MemoryModel model) : model_(std::move(model)) {}

  // Both throw session::OutOfMemory with CUDA's text.
  void call(const session::ObservedCall& call) override {
    for (std::size_t i = 0; i < call.outputs.size(); ++i) {
      try {
        allocate(call.outputs[i], call.stream, call.location);
      } catch (...) {
        while (i-- > 0) model_.free(call.outputs[i].size_bytes);
        throw;
      }
    }
  }
  void allocate(const session::NewStorage& storage, std::uint32_t /*stream*/,
                std::uint32_t /*location*/) override {
    try {
      model_.allocate(storage.size_bytes);
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
