// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/memory_groups.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "emulator/workspace/memory_scripts.h"

namespace torch_remote::emulator {
namespace {

using session::NewStorage;

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;

// More than any GPU has; sums of it don't overflow.
constexpr std::uint64_t kEndlessBytes = std::uint64_t{1} << 60;

// What new segments a call's requests can need together, at most.
class SegmentBound {
 public:
  explicit SegmentBound(const AllocatorSettings& settings) : settings_(settings) {}

  void add(std::uint64_t size_bytes) {
    // Rounding to steps between powers of two takes less than twice the size.
    if (settings_.divisions_of(size_bytes) > 1) size_bytes *= 2;
    if (size_bytes <= kMib) {
      small_bytes_ += size_bytes + 512;
    } else if (size_bytes < 10 * kMib) {
      ++shared_count_;
    } else {
      own_bytes_ += size_bytes + 2 * kMib;
    }
  }
  // Segments of small and middle requests are at least half full, but for the last.
  std::uint64_t device_bytes_max() const {
    return 2 * small_bytes_ + 2 * kMib +
           (shared_count_ / 2 + 1) * settings_.large_segment_size_bytes + own_bytes_;
  }

 private:
  const AllocatorSettings& settings_;
  std::uint64_t small_bytes_ = 0;
  std::uint64_t shared_count_ = 0;
  std::uint64_t own_bytes_ = 0;
};

// Whether what the allocator does depends on the size of the device long before it is full.
bool depends_on_size(const AllocatorSettings& settings) {
  return settings.garbage_collection_threshold > 0 || settings.per_process_memory_fraction < 1;
}

}  // namespace

MemoryGroups::MemoryGroups(std::vector<GpuModel> gpus, MemoryGroupOptions options,
                           ClockGroup& clocks)
    : gpus_(std::move(gpus)), options_(std::move(options)), clocks_(&clocks) {
  assert(clocks.size() == gpus_.size());
  assert(!gpus_.empty() && gpus_.size() <= std::numeric_limits<std::uint8_t>::max());
  const bool share = !depends_on_size(options_.allocator);
  for (GpuNumber gpu = 0; gpu < gpus_.size(); ++gpu) {
    if (gpu > 0 && share) {
      groups_.front().members.push_back(gpu);
      continue;
    }
    const std::uint64_t total_bytes = share ? kEndlessBytes : gpus_[gpu].total_memory_bytes;
    groups_.push_back(
        {.members = {gpu},
         .allocator = CachingAllocator(DeviceMemory(total_bytes, 0), options_.allocator,
                                       options_.device_index, OutOfMemoryPolicy::kRecord),
         .events = ClockEvents(clocks)});
  }
  for (Group& group : groups_) settle(group);
  no_workspace_ = {.scripts = {{}}, .script_of_gpu = std::vector<std::uint8_t>(gpus_.size())};
}

// A group of one is that GPU; a larger one has memory without end, until one of its members hasn't.
void MemoryGroups::settle(Group& group) {
  group.events.answer_for(group.members.front());
  group.room_bytes = kEndlessBytes;
  for (const GpuNumber member : group.members)
    group.room_bytes = std::min(group.room_bytes, usable_memory_bytes(gpus_[member]));
  if (group.members.size() > 1) return;
  const GpuNumber gpu = group.members.front();
  group.allocator.become(gpus_[gpu].total_memory_bytes, gpus_[gpu].context_memory_bytes,
                         gpu == 0 ? options_.out_of_memory : OutOfMemoryPolicy::kRecord);
}

// The members that don't stay go on in a copy. GPU 0 stays in the first group, so where it is one
// of the others, these and those change places.
template <typename Stays>
MemoryGroups::Group* MemoryGroups::split(Group& group, Stays stays) {
  const bool stays_with_first = stays(group.members.front());
  const auto rest =
      std::stable_partition(group.members.begin(), group.members.end(),
                            [&](GpuNumber gpu) { return stays(gpu) == stays_with_first; });
  if (rest == group.members.end()) return nullptr;
  Group copy = group;
  copy.members.assign(rest, group.members.end());
  group.members.erase(rest, group.members.end());
  settle(group);
  settle(copy);
  groups_.push_back(std::move(copy));
  return &groups_.back();
}

PlanScripts MemoryGroups::scripts_of(const PlannedOperator& planned) const {
  PlanScripts plan;
  for (const GpuModel& gpu : gpus_) {
    MemoryScript script = memory_script(planned, gpu, options_.libraries);
    const auto found = std::ranges::find(plan.scripts, script);
    plan.script_of_gpu.push_back(static_cast<std::uint8_t>(found - plan.scripts.begin()));
    if (found == plan.scripts.end()) plan.scripts.push_back(std::move(script));
  }
  return plan;
}

void MemoryGroups::split_by_script(Group& group, const PlanScripts& plan) {
  for (Group* next = &group; next != nullptr && next->members.size() > 1;) {
    const std::uint8_t script = plan.script_of_gpu[next->members.front()];
    next = split(*next, [&](GpuNumber gpu) { return plan.script_of_gpu[gpu] == script; });
  }
}

// Which blocks the next request finds free depends on which events are done by then.
void MemoryGroups::split_by_events(Group& group) {
  if (!group.allocator.has_pending_events()) return group.events.clear();
  group.events.tidy(group.members);
  for (Group* next = &group; next != nullptr && next->members.size() > 1;) {
    const GpuNumber first = next->members.front();
    next = split(*next, [&](GpuNumber gpu) { return next->events.agree(first, gpu); });
  }
}

void MemoryGroups::split_where_short(Group& group, std::uint64_t device_bytes_max) {
  const auto is_short = [&](std::uint64_t room_bytes) {
    return group.allocator.device().used_bytes() + device_bytes_max > room_bytes;
  };
  while (group.members.size() > 1 && is_short(group.room_bytes)) {
    const GpuNumber least = *std::ranges::min_element(
        group.members, {}, [&](GpuNumber gpu) { return usable_memory_bytes(gpus_[gpu]); });
    if (least == group.members.front()) {
      Group* others = split(group, [&](GpuNumber gpu) { return gpu == least; });
      return split_where_short(*others, device_bytes_max);
    }
    split(group, [&](GpuNumber gpu) { return gpu != least; });
  }
}

std::uint64_t MemoryGroups::device_bytes_max(const PlanScripts& plan,
                                             std::span<const NewStorage> outputs) const {
  std::uint64_t most_bytes = 0;
  for (const MemoryScript& script : plan.scripts) {
    SegmentBound bound(options_.allocator);
    for (const NewStorage& output : outputs) bound.add(output.size_bytes);
    for (const ScriptStep& step : script.steps) bound.add(step.size_bytes);
    most_bytes = std::max(most_bytes, bound.device_bytes_max());
  }
  return most_bytes;
}

void MemoryGroups::take_slots(std::span<const NewStorage> outputs) {
  call_slots_.clear();
  for (const NewStorage& output : outputs) call_slots_.push_back(slots_.acquire(output.id));
}

void MemoryGroups::call(PlanScripts& plan, std::span<const NewStorage> outputs,
                        const MemoryCaller& caller) {
  if (plan.device_bytes_max == 0) plan.device_bytes_max = device_bytes_max(plan, outputs);
  const bool differs = plan.scripts.size() > 1;
  note_time();
  // Groups that come to be on the way are looked at as well.
  for (std::size_t i = 0; i < groups_.size(); ++i) {  // NOLINT(modernize-loop-convert): it grows
    if (!groups_[i].events.empty()) [[unlikely]]
      split_by_events(groups_[i]);
    if (groups_[i].members.size() == 1) continue;
    if (differs) split_by_script(groups_[i], plan);
    split_where_short(groups_[i], plan.device_bytes_max);
  }
  take_slots(outputs);
  const Run run_of_call{.caller = caller,
                        .handle = handle_of_this_thread(),
                        .outputs = outputs,
                        .slots = call_slots_};
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    Group& group = groups_[i];
    group.blocks.resize(std::max<std::size_t>(group.blocks.size(), slots_.capacity()), kNoBlock);
    try {
      run(group, plan.scripts[plan.script_of_gpu[group.members.front()]], run_of_call);
    } catch (...) {
      for (std::size_t done = 0; done <= i; ++done) give_back_outputs(groups_[done], call_slots_);
      for (const NewStorage& output : outputs) slots_.release(output.id);
      throw;
    }
  }
}

void MemoryGroups::run(Group& group, const MemoryScript& script, const Run& run) {
  const auto output = [&](std::size_t number, std::uint64_t size_bytes) {
    if (number < run.slots.size() && size_bytes > 0)
      group.blocks[run.slots[number]] = take(group, size_bytes, run.caller);
  };
  if (script.steps.empty()) {
    for (std::size_t i = 0; i < run.outputs.size(); ++i) output(i, run.outputs[i].size_bytes);
    return;
  }
  scratch_.assign(script.scratch_count, kNoBlock);
  try {
    for (const ScriptStep& step : script.steps) {
      switch (step.kind) {
        case ScriptStep::Kind::kAllocate:
          scratch_[step.number] = take(group, step.size_bytes, run.caller);
          break;
        case ScriptStep::Kind::kFree:
          group.allocator.free(std::exchange(scratch_[step.number], kNoBlock), group.events,
                               run.caller.location);
          break;
        case ScriptStep::Kind::kOutput:
          if (step.number < run.outputs.size())
            output(step.number, run.outputs[step.number].size_bytes);
          break;
        case ScriptStep::Kind::kSizedOutput:
          output(step.number, step.size_bytes);
          break;
        case ScriptStep::Kind::kKeep:
          keep(group, step, run);
          break;
      }
    }
  } catch (...) {
    for (const BlockIndex block : scratch_) {
      if (block != kNoBlock) group.allocator.free(block, group.events);
    }
    throw;
  }
}

void MemoryGroups::keep(Group& group, const ScriptStep& step, const Run& run) {
  const Kept kept{.workspace = step.workspace, .handle = run.handle, .stream = run.caller.stream};
  if (std::ranges::find(group.kept, kept) != group.kept.end()) return;
  take(group, step.size_bytes, run.caller);
  group.kept.push_back(kept);
}

BlockIndex MemoryGroups::take(Group& group, std::uint64_t size_bytes, const MemoryCaller& caller) {
  const auto note_shortfall = [&](const OutOfMemoryReport& report) {
    group.shortfall = {.operation = std::string(caller.operation),
                       .number = caller.number,
                       .location = caller.location,
                       .report = report};
  };
  BlockIndex block = kNoBlock;
  try {
    block = group.allocator.allocate(size_bytes, caller.stream, group.events, caller.location);
  } catch (const OutOfMemory& error) {
    if (!group.shortfall) note_shortfall(error.report());
    group.events.apply_waits(group.members);
    throw;
  }
  const auto& first = group.allocator.first_out_of_memory();
  if (first && !group.shortfall) {
    note_shortfall(*first);
    group.events.drop_waits();
  }
  group.events.apply_waits(group.members);
  const AllocatorStatistics& counts = group.allocator.statistics();
  const auto allocated_bytes = static_cast<std::uint64_t>(counts.allocated_bytes.all.current);
  const auto reserved_bytes = static_cast<std::uint64_t>(counts.reserved_bytes.all.current);
  group.allocated_bytes_peak = std::max(group.allocated_bytes_peak, allocated_bytes);
  group.reserved_bytes_peak = std::max(group.reserved_bytes_peak, reserved_bytes);
  group.series.note(caller.number, allocated_bytes, reserved_bytes);
  return block;
}

void MemoryGroups::give_back_outputs(Group& group, std::span<const SlotNumber> slots) noexcept {
  for (const SlotNumber slot : slots) {
    const BlockIndex block = std::exchange(group.blocks[slot], kNoBlock);
    if (block != kNoBlock) group.allocator.free(block, group.events);
  }
}

void MemoryGroups::allocate(const NewStorage& storage, const MemoryCaller& caller) {
  no_workspace_.device_bytes_max = 0;  // of another size
  call(no_workspace_, {&storage, 1}, caller);
}

void MemoryGroups::free(session::TensorId id) noexcept {
  note_time();
  const SlotNumber slot = slots_.release(id);
  for (Group& group : groups_) give_back_outputs(group, {&slot, 1});
}

void MemoryGroups::record_stream(session::TensorId id, std::uint32_t stream) {
  const SlotNumber slot = slots_.find(id);
  for (Group& group : groups_) {
    if (group.blocks[slot] != kNoBlock) group.allocator.record_stream(group.blocks[slot], stream);
  }
}

void MemoryGroups::reset_peak() noexcept {
  for (Group& group : groups_) group.allocator.reset_peak();
}

void MemoryGroups::reset_accumulated() noexcept {
  for (Group& group : groups_) group.allocator.reset_accumulated();
}

void MemoryGroups::empty_cache() noexcept {
  note_time();
  for (Group& group : groups_) {
    group.allocator.empty_cache(group.events);
    group.events.apply_waits(group.members);
  }
}

CachingAllocator& MemoryGroups::governing_allocator() {
  split(groups_.front(), [](GpuNumber gpu) { return gpu == 0; });
  note_time();
  return groups_.front().allocator;
}

// Only the governing GPU's history can be asked for.
void MemoryGroups::note_time() {
  CachingAllocator& allocator = groups_.front().allocator;
  if (!allocator.history().is_enabled()) return;
  constexpr Nanoseconds kNanosecondsPerMicrosecond = 1000;
  allocator.set_time(clocks_->clock(0).launcher_time_ns() / kNanosecondsPerMicrosecond);
}

MemoryGroups::Usage MemoryGroups::usage(GpuNumber gpu) const {
  const auto group = std::ranges::find_if(groups_, [&](const Group& one) {
    return std::ranges::find(one.members, gpu) != one.members.end();
  });
  const std::uint64_t total_bytes = gpus_[gpu].total_memory_bytes;
  const bool is_alone = group->members.size() == 1;
  const std::uint64_t used_bytes =
      group->allocator.device().used_bytes() + (is_alone ? 0 : gpus_[gpu].context_memory_bytes);
  return {.allocated_bytes_peak = group->allocated_bytes_peak,
          .reserved_bytes_peak = group->reserved_bytes_peak,
          .free_bytes = total_bytes - std::min(total_bytes, used_bytes),
          .total_bytes = total_bytes,
          .statistics = &group->allocator.statistics(),
          .series = &group->series,
          .shortfall = group->shortfall ? &*group->shortfall : nullptr};
}

std::uint32_t MemoryGroups::handle_of_this_thread() {
  const std::thread::id id = std::this_thread::get_id();
  const auto found = std::ranges::find(threads_, id);
  const auto handle = static_cast<std::uint32_t>(found - threads_.begin());
  if (found == threads_.end()) threads_.push_back(id);
  return handle;
}

}  // namespace torch_remote::emulator
