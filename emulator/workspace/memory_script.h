// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What one call of an operator asks of the allocator on CUDA, in order: its outputs, the scratch
// memory beside them, where each piece of scratch is given back, and what a library takes once and
// keeps. An allocator that replays it comes to the same peak and the same segments as the card.
//
// Sizes are in bytes, as asked for: the allocator rounds them. Scripts are values without pointers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace torch_remote::emulator {

// What libraries take at their first call and keep, each for a (handle, stream); a thread has a
// handle of its own. kNone is no library.
enum class KeptWorkspace : std::uint8_t { kNone = 0, kCublas = 1, kCublasLt = 2 };
inline constexpr std::size_t kKeptWorkspaceCount = 3;

struct ScriptStep {
  enum class Kind : std::uint8_t {
    kAllocate,     // scratch `number` of `size_bytes`
    kFree,         // scratch `number`
    kOutput,       // output `number`, counted over all fresh ones, of the plan's size
    kSizedOutput,  // output `number`, which takes `size_bytes` on CUDA; 0: no memory at all
    kKeep,         // `workspace` of `size_bytes`, unless this handle and stream have it
  };

  Kind kind = Kind::kAllocate;
  KeptWorkspace workspace = KeptWorkspace::kNone;
  std::uint32_t number = 0;
  std::uint64_t size_bytes = 0;

  friend bool operator==(const ScriptStep&, const ScriptStep&) = default;
};

// Every scratch is freed once, after it was allocated; every fresh output of the plan comes once.
// No steps at all: the outputs, in order, and nothing else.
struct MemoryScript {
  std::vector<ScriptStep> steps;
  std::uint32_t scratch_count = 0;

  friend bool operator==(const MemoryScript&, const MemoryScript&) = default;
};

// The most bytes above what is there before or after, as if nothing were rounded or split: for
// tests and figures.
struct ScriptFigures {
  std::uint64_t peak_scratch_bytes = 0;  // live scratch, at its most
};
ScriptFigures figures(const MemoryScript& script);

// Writes a script in the order of the calls.
class ScriptWriter {
 public:
  explicit ScriptWriter(std::uint32_t output_count) : is_written_(output_count, false) {}

  // Returns the number by which to free it. An allocation of no bytes is none.
  std::uint32_t allocate(std::uint64_t size_bytes);
  void free(std::uint32_t scratch);
  // Allocates and frees at once: what a kernel needs alone.
  void scratch(std::uint64_t size_bytes) { free(allocate(size_bytes)); }
  // An output that is written already, or that the plan doesn't have, is left out.
  void output(std::uint32_t number);
  void sized_output(std::uint32_t number, std::uint64_t size_bytes);
  // All outputs that aren't written yet.
  void outputs();
  void keep(KeptWorkspace workspace, std::uint64_t size_bytes);

  // Adds the outputs that weren't mentioned, and frees what was not freed, the last first.
  MemoryScript finish() &&;

 private:
  MemoryScript script_;
  std::vector<bool> is_written_;
  std::vector<bool> is_live_;
};

}  // namespace torch_remote::emulator
