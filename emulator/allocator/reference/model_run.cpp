// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The steps of a random program as calls of the model.
#include "emulator/allocator/reference/model_run.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace torch_remote::emulator::reference {
namespace {

// The fake runtime has no NVML, so PyTorch says nothing of the process there.
std::string without_process(const std::string& text) {
  const std::size_t begin = text.find("Including non-PyTorch memory");
  constexpr std::string_view kEnd = "memory in use. ";
  const std::size_t end = text.find(kEnd);
  if (begin == std::string::npos || end == std::string::npos) return text;
  return text.substr(0, begin) + text.substr(end + kEnd.size());
}

}  // namespace

ToldEvents::Event ToldEvents::record(StreamNumber stream) {
  return ++streams_[stream].given * kStreams + stream;
}
bool ToldEvents::is_done(Event event) { return event / kStreams <= stream_of(event).done; }
void ToldEvents::synchronize(Event event) {
  stream_of(event).done = std::max(stream_of(event).done, event / kStreams);
}
void ToldEvents::synchronize_stream(StreamNumber stream) {
  streams_[stream].done = streams_[stream].given;
}
void ToldEvents::synchronize_device() {
  for (Stream& stream : streams_) stream.done = stream.given;
}

ModelRun::ModelRun(const Program& program)
    : program_(program),
      allocator_(DeviceMemory(program.total_bytes, program.used_bytes),
                 parse_allocator_settings(program.settings)) {}

StepResult ModelRun::step(const Step& step) {
  StepResult result;
  switch (step.kind) {
    case StepKind::kAllocate:
      try {
        block_of(step.id) = allocator_.allocate(step.size_bytes, step.stream, events_);
        result.address = allocator_.address_of(*block_of(step.id));
      } catch (const OutOfMemory& error) {
        result.error = without_process(error.what());
      }
      break;
    case StepKind::kFree:
      if (auto& block = block_of(step.id))
        allocator_.free(*std::exchange(block, std::nullopt), events_);
      break;
    case StepKind::kRecordStream:
      if (const auto& block = block_of(step.id)) allocator_.record_stream(*block, step.stream);
      break;
    case StepKind::kAdvance:
      events_.synchronize_stream(step.stream);
      break;
    case StepKind::kSynchronize:
      events_.synchronize_device();
      break;
    case StepKind::kEmptyCache:
      allocator_.empty_cache(events_);
      break;
    case StepKind::kResetPeak:
      allocator_.reset_peak();
      break;
    case StepKind::kResetAccumulated:
      allocator_.reset_accumulated();
      break;
    case StepKind::kSetFraction:
      allocator_.set_memory_fraction(static_cast<double>(step.size_bytes) /
                                     static_cast<double>(program_.total_bytes));
      break;
    case StepKind::kSetSettings:
      allocator_.set_settings(
          with_allocator_settings(allocator_.settings(), program_.other_settings));
      break;
  }
  return result;
}

std::optional<BlockIndex>& ModelRun::block_of(std::uint32_t id) {
  if (id >= blocks_.size()) blocks_.resize(id + 1);
  return blocks_[id];
}

}  // namespace torch_remote::emulator::reference
