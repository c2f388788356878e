// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Runs a random program on the model.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "emulator/allocator/caching_allocator.h"
#include "emulator/allocator/reference/random_program.h"
#include "emulator/allocator/reference/record.h"
#include "emulator/allocator/stream_events.h"

namespace torch_remote::emulator::reference {

// Streams that are done when they are told so, as those of the fake CUDA runtime.
class ToldEvents final : public StreamEvents {
 public:
  Event record(StreamNumber stream) override;
  bool is_done(Event event) override;
  void synchronize(Event event) override;
  void synchronize_stream(StreamNumber stream) override;
  void synchronize_device() override;

 private:
  struct Stream {
    std::uint64_t given = 0;
    std::uint64_t done = 0;
  };
  static constexpr std::uint64_t kStreams = 128;

  Stream& stream_of(Event event) { return streams_[event % kStreams]; }

  std::vector<Stream> streams_ = std::vector<Stream>(kStreams);
};

class ModelRun {
 public:
  explicit ModelRun(const Program& program);

  StepResult step(const Step& step);
  const CachingAllocator& allocator() const { return allocator_; }

 private:
  std::optional<BlockIndex>& block_of(std::uint32_t id);

  const Program& program_;
  CachingAllocator allocator_;
  ToldEvents events_;
  std::vector<std::optional<BlockIndex>> blocks_;
};

}  // namespace torch_remote::emulator::reference
