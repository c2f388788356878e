// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The observer of an emulated device. One program runs once; the models of its GPU, and of any
// number of others, look on. The first GPU governs: what it refuses, the program sees. For the
// others the first operation that doesn't fit is recorded, and they go on.
//
// What a plan costs on each GPU is worked out when the plan is defined; a call only adds up.
//
// An Emulation is guarded by its session's lock (session::SessionObserver); whoever else asks it
// does so under Session::with_observer_at_rest().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/protocol/replies.h"
#include "core/session/observer.h"
#include "emulator/allocator/caching_allocator.h"
#include "emulator/allocator/models_memory.h"
#include "emulator/capability_rules.h"
#include "emulator/gpu_model.h"
#include "emulator/memory_groups.h"
#include "emulator/planned_operator.h"
#include "emulator/program_settings.h"
#include "emulator/time/clock_group.h"

namespace torch_remote::emulator {

// Where there are values, and what becomes of a program that reads one where there are none.
enum class Values : std::uint8_t {
  kComputed,     // by the executor
  kRaiseAtRead,  // a dry run, in which reading is an error that names the program's line
  kZerosAtRead,  // a dry run, in which everything reads as zeros
};

struct EmulationOptions {
  Values values = Values::kComputed;
  MemoryGroupOptions memory{};
  ClockOptions time{};
  ReadSettings settings{};  // PyTorch's defaults where it is empty
};

// The first call that this GPU refuses and the governing one doesn't, or the other way round: the
// program goes on another way there.
struct Divergence {
  std::string operation;
  std::uint32_t location = 0;
  std::string message;      // of the one that refuses
  bool is_refused = false;  // by this GPU
};

// An operator over the whole run, all its plans together.
struct OperatorUse {
  std::string name;  // "aten::mm", "aten::add.Tensor"
  std::uint64_t calls = 0;
  double gpu_us = 0;  // sum of its kernels' durations
};

// What one GPU's models say of the run so far. Sizes in bytes.
struct GpuOutcome {
  std::string_view type;
  std::uint64_t total_bytes = 0;
  std::uint64_t usable_bytes = 0;  // without the context
  double price_usd_per_s = 0;
  std::uint64_t allocated_bytes_peak = 0;
  std::uint64_t reserved_bytes_peak = 0;
  std::optional<Shortfall> shortfall{};
  std::optional<Divergence> divergence{};
  std::vector<MemorySeries::Point> memory{};
  // Modelled times so far, in microseconds: the program's, when all that it has called will have
  // been done, and the sum of its kernels' durations.
  double host_us = 0;
  double gpu_us = 0;
  double gpu_busy_us = 0;
  std::vector<double> step_ends_us{};     // all that was called before each mark_step() is done
  std::vector<double> time_samples_us{};  // after as many operations as Emulation::time_samples()
  std::vector<OperatorUse> operators{};   // by name
};

// Reads that a dry run answered by zeros.
struct ZeroReads {
  std::uint64_t count = 0;
  std::uint32_t first_location = 0;  // of the program's line
};

class Emulation final : public session::SessionObserver, public ModelsMemory {
 public:
  // At least one GPU; what their texts view has to live as long as this.
  explicit Emulation(std::vector<GpuModel> gpus, EmulationOptions options = {});
  Emulation(const Emulation&) = delete;
  Emulation& operator=(const Emulation&) = delete;

  void define_operator(std::uint32_t number, std::string_view name,
                       std::string_view overload) override;
  void define_plan(const protocol::PlanDefinition& definition) override;

  // These throw session::OutOfMemory with CUDA's text, and session::OperationError for what the
  // first GPU's capability refuses (capability_rules.h) and in a dry run for what needs values.
  // Nothing has changed then.
  void call(const session::ObservedCall& call) override;
  void allocate(const session::NewStorage& storage, std::uint32_t stream,
                std::uint32_t location) override;
  void copy(const session::ObservedCopy& copy) override;

  void free(session::TensorId id, std::uint64_t size_bytes) noexcept override;
  void record_stream(session::TensorId id, std::uint32_t stream) override;
  void synchronize() override;
  void synchronize_event(session::EventId event) override;
  void record_event(session::EventId event, std::uint32_t stream, bool with_time) override;
  void wait_event(session::EventId event, std::uint32_t stream) override;
  void free_event(session::EventId event) noexcept override;

  // By the first GPU's clock.
  std::optional<bool> query_event(session::EventId event) override;
  std::optional<double> elapsed_time_ms(session::EventId start, session::EventId end) override;
  std::optional<session::ModelledTime> modelled_time() override { return clocks_.modelled_time(); }
  std::optional<session::ModelledSpan> last_span() override { return clocks_.last_span(); }

  std::optional<protocol::Numbers> memory_statistics() override;
  void reset_peak_memory() noexcept override;
  bool reset_accumulated_memory() noexcept override;
  void empty_cache() noexcept override;

  // The program ends a step, or begins its first one.
  void mark_step();
  // Forgets the marks.
  void clear_steps() { steps_.clear(); }

  const std::vector<GpuModel>& gpus() const { return memory_.gpus(); }
  const ClockGroup& clocks() const { return clocks_; }
  bool has_values() const { return values_ == Values::kComputed; }
  std::vector<GpuOutcome> outcomes() const;
  std::uint64_t operations() const { return operations_; }
  // How many operations there had been at each mark.
  std::vector<std::uint64_t> steps() const;
  // After how many operations the clocks were looked at: evenly, and at most so often.
  std::vector<std::uint64_t> time_samples() const;
  const ZeroReads& zero_reads() const { return zero_reads_; }
  // The first GPU's, modelled by itself from then on.
  CachingAllocator& allocator() override { return memory_.governing_allocator(); }

 private:
  // A plan that is looked at before each call.
  struct WatchedPlan {
    protocol::PlanDefinition definition;
    bool follows_settings = false;
    ProgramSettings settings{};  // for which times, scripts and refusals hold
    std::vector<std::optional<CapabilityRefusal>> refusals{};  // by GPU
  };
  struct Plan {
    std::uint32_t operator_number = 0;
    bool describes_outputs = false;
    std::uint64_t calls = 0;
    PlanScripts scripts{};
    std::unique_ptr<WatchedPlan> watched{};  // of few
  };
  struct Operator {
    std::string name;
    std::string overload;
    // Of plans that are no more; times by GPU.
    std::uint64_t calls = 0;
    std::vector<Nanoseconds> gpu_ns;

    std::string full_name() const { return overload.empty() ? name : name + "." + overload; }
  };

  // What an allocator has had of its GPU, and given back.
  struct DeviceCalls {
    std::int64_t allocated = 0;
    std::int64_t freed = 0;
    std::int64_t allocated_bytes = 0;
    std::int64_t freed_bytes = 0;

    friend bool operator==(const DeviceCalls&, const DeviceCalls&) = default;
  };

  // When all that was called so far is done, by GPU.
  struct Moment {
    std::uint64_t operations = 0;
    std::vector<double> ends_us;
  };
  static constexpr std::size_t kTimeSamplesMax = 1024;

  PlannedOperator planned(const protocol::PlanDefinition& definition) const;
  ProgramSettings settings_now() const;
  void model(Plan& plan, const PlannedOperator& planned, const ProgramSettings& settings);
  void watch(const session::ObservedCall& call);
  void note_divergence(const Plan& plan, std::uint32_t location);
  void refuse_values(const Plan& plan, std::uint32_t location) const;
  void time_device_calls();
  void retire(std::uint32_t plan_number);
  Moment now() const;
  void sample_time();
  std::vector<OperatorUse> operators_of(GpuNumber gpu) const;

  Values values_;
  ReadSettings read_settings_;
  ClockGroup clocks_;
  MemoryGroups memory_;                    // asks the clocks
  std::vector<DeviceCalls> device_calls_;  // by GPU, as far as they were timed
  std::vector<Operator> operators_;        // by number
  std::vector<Plan> plans_;                // by number
  std::uint64_t operations_ = 0;
  std::vector<Moment> steps_;
  std::vector<Moment> time_samples_;
  std::uint64_t sample_every_ = 1;
  std::uint64_t next_sample_ = 0;
  ZeroReads zero_reads_;
  std::vector<std::optional<Divergence>> divergences_;  // by GPU
};

}  // namespace torch_remote::emulator
