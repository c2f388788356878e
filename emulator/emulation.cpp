// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/emulation.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/session/errors.h"
#include "emulator/allocator/allocator_statistics.h"
#include "emulator/planned_operator.h"

namespace torch_remote::emulator {
namespace {

using protocol::ErrorKind;

// In the words of the session's front ends.
template <typename Action>
void with_session_errors(Action action) {
  try {
    action();
  } catch (const OutOfMemory& error) {
    throw session::OutOfMemory(error.what());
  }
}

std::uint64_t size_of(std::int64_t bytes) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(bytes, 0));
}

template <typename Entry>
Entry& entry_of(std::vector<Entry>& entries, std::uint32_t number) {
  if (number >= entries.size()) entries.resize(number + 1);
  return entries[number];
}

}  // namespace

Emulation::Emulation(std::vector<GpuModel> gpus, EmulationOptions options)
    : values_(options.values),
      read_settings_(std::move(options.settings)),
      clocks_(gpus, options.time),
      memory_(std::move(gpus), std::move(options.memory), clocks_),
      device_calls_(memory_.gpus().size()),
      divergences_(memory_.gpus().size()) {}

void Emulation::define_operator(std::uint32_t number, std::string_view name,
                                std::string_view overload) {
  Operator& defined = entry_of(operators_, number);
  defined.name = name;
  defined.overload = overload;
}

void Emulation::define_plan(const protocol::PlanDefinition& definition) {
  Plan& plan = entry_of(plans_, definition.plan);
  if (plan.calls > 0) retire(definition.plan);
  plan = {.operator_number = definition.operator_number,
          .describes_outputs = definition.describes_outputs};
  entry_of(operators_, definition.operator_number);
  model(plan, planned(definition), settings_now());
}

PlannedOperator Emulation::planned(const protocol::PlanDefinition& definition) const {
  const Operator& called = operators_[definition.operator_number];
  return {.name = called.name, .overload = called.overload, .plan = definition};
}

ProgramSettings Emulation::settings_now() const {
  return read_settings_ ? read_settings_() : ProgramSettings{};
}

// What calls of the plan cost, and whether they are refused, by these settings.
void Emulation::model(Plan& plan, const PlannedOperator& planned, const ProgramSettings& settings) {
  memory_.allow_convolution_tf32(settings.precision.allow_tf32_in_convolutions);
  plan.scripts = memory_.scripts_of(planned);
  clocks_.define_plan(planned, settings.precision);
  std::vector<std::optional<CapabilityRefusal>> refusals;
  for (const GpuModel& gpu : gpus()) refusals.push_back(capability_refusal(planned, gpu, settings));
  const bool follows = read_settings_ && follows_settings(planned);
  const bool is_refused = std::ranges::any_of(refusals, [](const auto& one) { return !!one; });
  if (!follows && !is_refused) return;
  if (!plan.watched) {
    plan.watched = std::make_unique<WatchedPlan>(
        WatchedPlan{.definition = planned.plan, .follows_settings = follows});
  }
  plan.watched->settings = settings;
  plan.watched->refusals = std::move(refusals);
}

// Before a call: throws what the first GPU refuses it with.
void Emulation::watch(const session::ObservedCall& call) {
  Plan& plan = plans_[call.plan];
  WatchedPlan& watched = *plan.watched;
  if (watched.follows_settings) {
    const ProgramSettings settings = settings_now();
    if (settings != watched.settings) {
      retire(call.plan);
      plan.calls = 0;
      model(plan, planned(watched.definition), settings);
    }
  }
  note_divergence(plan, call.location);
  if (const std::optional<CapabilityRefusal>& refusal = watched.refusals.front()) {
    throw session::OperationError({.kind = refusal->kind,
                                   .operator_name = operators_[plan.operator_number].full_name(),
                                   .message = refusal->message},
                                  call.location);
  }
}

void Emulation::note_divergence(const Plan& plan, std::uint32_t location) {
  const auto& refusals = plan.watched->refusals;
  for (GpuNumber gpu = 1; gpu < refusals.size(); ++gpu) {
    if (divergences_[gpu] || refusals[gpu].has_value() == refusals.front().has_value()) continue;
    const bool is_refused = refusals[gpu].has_value();
    divergences_[gpu] =
        Divergence{.operation = operators_[plan.operator_number].full_name(),
                   .location = location,
                   .message = (is_refused ? refusals[gpu] : refusals.front())->message,
                   .is_refused = is_refused};
  }
}

void Emulation::call(const session::ObservedCall& call) {
  Plan& plan = plans_[call.plan];
  if (plan.watched) watch(call);
  if (plan.describes_outputs && values_ != Values::kComputed) refuse_values(plan, call.location);
  with_session_errors([&] {
    memory_.call(plan.scripts, call.outputs,
                 {.operation = operators_[plan.operator_number].name,
                  .number = operations_,
                  .stream = call.stream,
                  .location = call.location});
  });
  time_device_calls();
  clocks_.call(call);
  ++plan.calls;
  if (++operations_ >= next_sample_) sample_time();
}

// Another plan takes the number: what this one's calls came to is its operator's from now on.
void Emulation::retire(std::uint32_t plan_number) {
  const Plan& plan = plans_[plan_number];
  Operator& called = operators_[plan.operator_number];
  called.calls += plan.calls;
  called.gpu_ns.resize(gpus().size());
  for (GpuNumber gpu = 0; gpu < gpus().size(); ++gpu) {
    called.gpu_ns[gpu] +=
        static_cast<Nanoseconds>(plan.calls) * clocks_.cost(plan_number, gpu).gpu_ns;
  }
}

void Emulation::refuse_values(const Plan& plan, std::uint32_t location) const {
  throw session::OperationError(
      {.kind = ErrorKind::kNotImplemented,
       .operator_name = operators_[plan.operator_number].full_name(),
       .message = "a dry run has no values, and the shape of this operator's result depends on "
                  "them. Run the program with values (dry_run=False), or give it another form: "
                  "torch.where for a mask, a fixed number of elements for nonzero or unique"},
      location);
}

void Emulation::allocate(const session::NewStorage& storage, std::uint32_t stream,
                         std::uint32_t location) {
  with_session_errors([&] {
    memory_.allocate(
        storage,
        {.operation = "allocation", .number = operations_, .stream = stream, .location = location});
  });
  time_device_calls();
  clocks_.allocate();
}

// What the allocator asked of the device since the last time, before the operation that needed it.
void Emulation::time_device_calls() {
  memory_.for_each_group(
      [this](std::span<const GpuNumber> gpus, const AllocatorStatistics& statistics) {
        const Counter& segments = statistics.segment.all;
        const Counter& bytes = statistics.reserved_bytes.all;
        const DeviceCalls now{.allocated = segments.allocated,
                              .freed = segments.freed,
                              .allocated_bytes = bytes.allocated,
                              .freed_bytes = bytes.freed};
        if (now == device_calls_[gpus.front()]) [[likely]]
          return;
        for (const GpuNumber gpu : gpus) {
          const DeviceCalls before = std::exchange(device_calls_[gpu], now);
          if (now.freed > before.freed) {
            clocks_.clock(gpu).device_free(static_cast<std::uint32_t>(now.freed - before.freed),
                                           size_of(now.freed_bytes - before.freed_bytes));
          }
          if (now.allocated > before.allocated) {
            clocks_.clock(gpu).device_malloc(
                static_cast<std::uint32_t>(now.allocated - before.allocated),
                size_of(now.allocated_bytes - before.allocated_bytes));
          }
        }
      });
}

void Emulation::copy(const session::ObservedCopy& copy) {
  if (copy.is_to_device || values_ != Values::kRaiseAtRead) {
    const bool reads_zeros = !copy.is_to_device && values_ == Values::kZerosAtRead;
    if (reads_zeros && zero_reads_.count++ == 0) zero_reads_.first_location = copy.location;
    return clocks_.copy(copy);
  }
  throw session::OperationError(
      {.message = "the program reads a value, and a dry run has none: nothing is computed. "
                  "emulate(..., on_read=\"zero\") lets every read give zeros instead"},
      copy.location);
}

void Emulation::free(session::TensorId id, std::uint64_t /*size_bytes*/) noexcept {
  memory_.free(id);
}

void Emulation::record_stream(session::TensorId id, std::uint32_t stream) {
  memory_.record_stream(id, stream);
}

void Emulation::synchronize() { clocks_.synchronize(); }

void Emulation::synchronize_event(session::EventId event) { clocks_.synchronize_event(event); }

void Emulation::record_event(session::EventId event, std::uint32_t stream, bool with_time) {
  clocks_.record_event(event, stream, with_time);
}

void Emulation::wait_event(session::EventId event, std::uint32_t stream) {
  clocks_.wait_event(event, stream);
}

void Emulation::free_event(session::EventId event) noexcept { clocks_.free_event(event); }

std::optional<bool> Emulation::query_event(session::EventId event) {
  return clocks_.query_event(event);
}

std::optional<double> Emulation::elapsed_time_ms(session::EventId start, session::EventId end) {
  return clocks_.elapsed_time_ms(start, end);
}

std::optional<protocol::Numbers> Emulation::memory_statistics() {
  const MemoryGroups::Usage usage = memory_.usage(0);
  protocol::Numbers numbers;
  for (auto& [name, value] : flat_statistics(*usage.statistics))
    numbers.emplace(std::move(name), value);
  numbers["free_bytes"] = static_cast<std::int64_t>(usage.free_bytes);
  numbers["total_bytes"] = static_cast<std::int64_t>(usage.total_bytes);
  return numbers;
}

void Emulation::reset_peak_memory() noexcept { memory_.reset_peak(); }
bool Emulation::reset_accumulated_memory() noexcept {
  memory_.reset_accumulated();
  device_calls_.assign(device_calls_.size(), {});
  return true;
}
void Emulation::empty_cache() noexcept {
  memory_.empty_cache();
  time_device_calls();
}

Emulation::Moment Emulation::now() const {
  Moment moment{.operations = operations_, .ends_us = {}};
  for (GpuNumber gpu = 0; gpu < gpus().size(); ++gpu) {
    const Clock& clock = clocks_.clock(gpu);
    moment.ends_us.push_back(std::max(clock.host_time_us(), clock.gpu_time_us()));
  }
  return moment;
}

void Emulation::mark_step() { steps_.push_back(now()); }

void Emulation::sample_time() {
  if (time_samples_.size() == kTimeSamplesMax) {
    for (std::size_t i = 1; 2 * i < kTimeSamplesMax; ++i)
      time_samples_[i] = std::move(time_samples_[2 * i]);
    time_samples_.resize(kTimeSamplesMax / 2);
    sample_every_ *= 2;
  }
  time_samples_.push_back(now());
  next_sample_ = operations_ + sample_every_;
}

std::vector<std::uint64_t> Emulation::steps() const {
  std::vector<std::uint64_t> operations;
  operations.reserve(steps_.size());
  for (const Moment& step : steps_) operations.push_back(step.operations);
  return operations;
}

std::vector<std::uint64_t> Emulation::time_samples() const {
  std::vector<std::uint64_t> operations;
  operations.reserve(time_samples_.size());
  for (const Moment& sample : time_samples_) operations.push_back(sample.operations);
  return operations;
}

std::vector<GpuOutcome> Emulation::outcomes() const {
  std::vector<GpuOutcome> outcomes;
  for (GpuNumber gpu = 0; gpu < gpus().size(); ++gpu) {
    const MemoryGroups::Usage usage = memory_.usage(gpu);
    GpuOutcome outcome{.type = gpus()[gpu].type,
                       .total_bytes = usage.total_bytes,
                       .usable_bytes = usable_memory_bytes(gpus()[gpu]),
                       .price_usd_per_s = gpus()[gpu].modal_price_usd_per_s,
                       .allocated_bytes_peak = usage.allocated_bytes_peak,
                       .reserved_bytes_peak = usage.reserved_bytes_peak,
                       .memory = usage.series->points(),
                       .host_us = clocks_.clock(gpu).host_time_us(),
                       .gpu_us = clocks_.clock(gpu).gpu_time_us(),
                       .gpu_busy_us = clocks_.clock(gpu).busy_us(),
                       .operators = operators_of(gpu)};
    if (usage.shortfall != nullptr) outcome.shortfall = *usage.shortfall;
    outcome.divergence = divergences_[gpu];
    for (const Moment& step : steps_) outcome.step_ends_us.push_back(step.ends_us[gpu]);
    for (const Moment& sample : time_samples_)
      outcome.time_samples_us.push_back(sample.ends_us[gpu]);
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

std::vector<OperatorUse> Emulation::operators_of(GpuNumber gpu) const {
  struct Sum {
    std::uint64_t calls = 0;
    Nanoseconds gpu_ns = 0;
  };
  std::map<std::string, Sum> sums;
  for (const Operator& one : operators_) {
    if (one.calls == 0) continue;
    Sum& sum = sums[one.full_name()];
    sum.calls += one.calls;
    sum.gpu_ns += one.gpu_ns[gpu];
  }
  for (std::uint32_t number = 0; number < plans_.size(); ++number) {
    const Plan& plan = plans_[number];
    if (plan.calls == 0) continue;
    Sum& sum = sums[operators_[plan.operator_number].full_name()];
    sum.calls += plan.calls;
    sum.gpu_ns += static_cast<Nanoseconds>(plan.calls) * clocks_.cost(number, gpu).gpu_ns;
  }
  std::vector<OperatorUse> uses;
  uses.reserve(sums.size());
  for (const auto& [name, sum] : sums)
    uses.push_back({.name = name, .calls = sum.calls, .gpu_us = microseconds(sum.gpu_ns)});
  return uses;
}

}  // namespace torch_remote::emulator
