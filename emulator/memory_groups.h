// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The memory of several GPUs that run the same program. Those that behave alike share one model of
// the allocator: how blocks are cut and cached depends on a GPU's size only where the memory of one
// runs out, and on its type only where an operator takes other workspaces there, or where a stream
// is sooner done with a block that is to be used again. At that point, and not before, the model is
// copied and each goes on by itself, so the result is that of models that were apart from the
// start.
//
// Not thread-safe: the session's lock guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/session/observer.h"
#include "emulator/allocator/caching_allocator.h"
#include "emulator/clock_events.h"
#include "emulator/gpu_model.h"
#include "emulator/memory_series.h"
#include "emulator/planned_operator.h"
#include "emulator/storage_slots.h"
#include "emulator/time/clock_group.h"
#include "emulator/workspace/library_settings.h"
#include "emulator/workspace/memory_script.h"

namespace torch_remote::emulator {

// What the calls of a plan ask of the allocator, by GPU.
struct PlanScripts {
  std::vector<MemoryScript> scripts;        // those that differ
  std::vector<std::uint8_t> script_of_gpu;  // which of them
  // What a call may take of the device at most, new segments included; 0 before the first call.
  std::uint64_t device_bytes_max = 0;
};

// Whose memory is asked for. Views are valid during the call.
struct MemoryCaller {
  std::string_view operation;  // "aten::mm", or what else needs memory
  std::uint64_t number = 0;    // of operations so far
  std::uint32_t stream = 0;
  std::uint32_t location = 0;  // of the program's line
};

// The first request that a GPU had no memory for.
struct Shortfall {
  std::string operation;
  std::uint64_t number = 0;
  std::uint32_t location = 0;
  OutOfMemoryReport report{};
};

struct MemoryGroupOptions {
  AllocatorSettings allocator{};
  LibrarySettings libraries{};
  // Of GPU 0. The others always record, and go on.
  OutOfMemoryPolicy out_of_memory = OutOfMemoryPolicy::kRaise;
  std::int32_t device_index = 0;  // appears in messages
};

class MemoryGroups {
 public:
  // At least one GPU, at most 256. What their texts view has to live as long as this, and so have
  // the clocks, which are of the same GPUs.
  MemoryGroups(std::vector<GpuModel> gpus, MemoryGroupOptions options, ClockGroup& clocks);

  const std::vector<GpuModel>& gpus() const { return gpus_; }
  PlanScripts scripts_of(const PlannedOperator& planned) const;
  // For scripts from now on: torch.backends.cudnn.allow_tf32.
  void allow_convolution_tf32(bool allowed) {
    options_.libraries.allows_convolution_tf32 = allowed;
  }

  // Both throw OutOfMemory where GPU 0 has to raise it, and then nothing was allocated; only what
  // libraries keep stays with them, as on CUDA.
  void call(PlanScripts& plan, std::span<const session::NewStorage> outputs,
            const MemoryCaller& caller);
  void allocate(const session::NewStorage& storage, const MemoryCaller& caller);
  void free(session::TensorId id) noexcept;
  void record_stream(session::TensorId id, std::uint32_t stream);

  void reset_peak() noexcept;
  void reset_accumulated() noexcept;
  void empty_cache() noexcept;

  // Of GPU 0, which is then modelled by itself: for what changes a model, or looks into it.
  CachingAllocator& governing_allocator();

  struct Usage {
    // Over the whole run, whatever the program has reset.
    std::uint64_t allocated_bytes_peak = 0;
    std::uint64_t reserved_bytes_peak = 0;
    // As CUDA tells it.
    std::uint64_t free_bytes = 0;
    std::uint64_t total_bytes = 0;
    const AllocatorStatistics* statistics = nullptr;  // valid until the next call
    const MemorySeries* series = nullptr;             // likewise
    const Shortfall* shortfall = nullptr;             // likewise; null where everything fitted
  };
  Usage usage(GpuNumber gpu) const;
  // Calls visit(the numbers of GPUs that share a model, its statistics) for each model.
  template <typename Visit>
  void for_each_group(Visit visit) const {
    for (const Group& group : groups_)
      visit(std::span<const GpuNumber>(group.members), group.allocator.statistics());
  }
  std::size_t group_count() const { return groups_.size(); }

 private:
  // What a library took for a thread's handle and a stream.
  struct Kept {
    KeptWorkspace workspace = KeptWorkspace::kNone;
    std::uint32_t handle = 0;
    std::uint32_t stream = 0;

    friend bool operator==(const Kept&, const Kept&) = default;
  };
  struct Group {
    std::vector<GpuNumber> members;
    CachingAllocator allocator;
    // What the device of the member with the least memory may be asked for.
    std::uint64_t room_bytes = 0;
    ClockEvents events;
    std::vector<BlockIndex> blocks{};  // by slot
    std::vector<Kept> kept{};
    MemorySeries series{};
    std::uint64_t allocated_bytes_peak = 0;
    std::uint64_t reserved_bytes_peak = 0;
    std::optional<Shortfall> shortfall{};
  };
  struct Run {
    const MemoryCaller& caller;
    std::uint32_t handle = 0;
    std::span<const session::NewStorage> outputs{};
    std::span<const SlotNumber> slots{};
  };

  template <typename Stays>
  Group* split(Group& group, Stays stays);
  void settle(Group& group);
  void split_by_script(Group& group, const PlanScripts& plan);
  void split_by_events(Group& group);
  void split_where_short(Group& group, std::uint64_t device_bytes_max);
  std::uint64_t device_bytes_max(const PlanScripts& plan,
                                 std::span<const session::NewStorage> outputs) const;
  void take_slots(std::span<const session::NewStorage> outputs);
  void run(Group& group, const MemoryScript& script, const Run& run);
  void give_back_outputs(Group& group, std::span<const SlotNumber> slots) noexcept;
  BlockIndex take(Group& group, std::uint64_t size_bytes, const MemoryCaller& caller);
  void keep(Group& group, const ScriptStep& step, const Run& run);
  std::uint32_t handle_of_this_thread();
  void note_time();

  std::vector<GpuModel> gpus_;
  MemoryGroupOptions options_;
  ClockGroup* clocks_;
  std::deque<Group> groups_;  // the one of GPU 0 first
  StorageSlots slots_;
  PlanScripts no_workspace_;  // of an allocation alone
  // Of the call under way; kept so that a call takes no memory here.
  std::vector<SlotNumber> call_slots_;
  std::vector<BlockIndex> scratch_;
  // PyTorch gives each thread a handle of cuBLAS.
  std::vector<std::thread::id> threads_;
};

}  // namespace torch_remote::emulator
