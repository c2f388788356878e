// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// An executor with a defect: another one behind the same interface, which it lets do all the work,
// and between the two what a Mutation says. It tests the conformance suite, not executors.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "conformance/mutants/history.h"
#include "conformance/mutants/mutation.h"
#include "conformance/mutants/places.h"
#include "core/executor/executor.h"

namespace torch_remote::mutants {

using executor::EventId;

// Beside its own work the executor counts. memory_statistics() has, under names of no allocator:
//   mutant.acted    how often it did something wrong, where that can be told: results with other
//   bytes calls.NAME      how often the operator was called, "calls.aten::add.Tensor" commands.NAME
//   the same for "write", "seed", ...
class MutantExecutor final : public executor::Executor {
 public:
  MutantExecutor(std::unique_ptr<Executor> executor, Mutation mutation,
                 std::uint32_t device_count = 1);

  std::map<std::string, std::string> describe() const override;
  protocol::Limits limits() const override { return executor_->limits(); }
  std::uint32_t device_count() const override { return device_count_; }
  void define_operator(std::uint32_t number, std::uint64_t schema_hash, std::string_view name,
                       std::string_view overload) override;
  void define_plan(const protocol::PlanDefinition& definition) override;
  void call(std::uint32_t plan, std::span<const std::byte> values) override;
  std::vector<protocol::DescribedOutput> call_and_describe(
      std::uint32_t plan, TensorId first_output_id, std::span<const std::byte> values) override;
  void allocate(TensorId id, std::uint64_t size_bytes) override;
  void free(TensorId id) noexcept override;
  void write(TensorId id, std::uint64_t offset_bytes, std::span<const std::byte> bytes) override;
  void read(TensorId id, std::uint64_t offset_bytes, std::span<std::byte> destination) override;
  void resize(TensorId id, TensorId new_id, std::uint64_t size_bytes) override;
  void rename(TensorId id, TensorId new_id) override;
  void seed(std::uint64_t generator, std::uint64_t seed) override;
  std::vector<std::byte> generator_state(std::uint64_t generator) override;
  void set_generator_state(std::uint64_t generator, std::span<const std::byte> state) override;
  void synchronize() override { executor_->synchronize(); }

  // Streams and events stay as they are: an executor that computes in order can't show a defect.
  void use_stream(std::uint32_t stream) override { executor_->use_stream(stream); }
  void record_event(EventId event, bool with_time) override {
    executor_->record_event(event, with_time);
  }
  void wait_event(EventId event) override { executor_->wait_event(event); }
  void free_event(EventId event) noexcept override { executor_->free_event(event); }
  bool query_event(EventId event) override { return executor_->query_event(event); }
  void synchronize_event(EventId event) override { executor_->synchronize_event(event); }
  double elapsed_time_ms(EventId start, EventId end) override {
    return executor_->elapsed_time_ms(start, end);
  }
  void record_stream(TensorId id, std::uint32_t stream) override {
    executor_->record_stream(id, stream);
  }
  protocol::Numbers memory_statistics() override;
  void reset_peak_memory() override { executor_->reset_peak_memory(); }
  void empty_cache() override { executor_->empty_cache(); }

 private:
  using Action = std::function<void()>;
  struct Deferred {
    std::uint32_t remaining = 0;  // commands
    Action run;
  };
  struct Operator {
    std::string name;
    bool is_mutated = false;
    std::int64_t calls = 0;
  };
  struct Plan {
    protocol::PlanDefinition definition;
    bool is_changed = false;  // the executor has another definition
    std::uint64_t calls = 0;
  };
  // Of where a storage came from and what became of it: some frees are leaked for that.
  struct Origin {
    bool is_described = false;
    bool is_in_list = false;
    bool was_read = false;
  };

  // ---- commands (mutant_executor.cpp) ----
  bool is(Kind kind) const { return mutation_.kind == kind; }
  bool is(Variation variation) const { return mutation_.variation == variation; }
  bool strikes(bool matches);
  void command(const char* name, bool matches, const Action& now,
               const std::function<Action()>& make_later);
  void after_command();
  bool matches_call(const Plan& plan, const Places& places) const;
  bool matches_free(TensorId id) const;

  // ---- calls (mutant_calls.cpp) ----
  protocol::PlanDefinition changed(const protocol::PlanDefinition& definition) const;
  void change_number(protocol::Argument& argument) const;
  bool is_mutated_call(const Plan& plan, const Places& places) const;
  void run_call(Plan& plan, std::span<const std::byte> values, const Places& places);
  void run_mutated(Plan& plan, std::span<const std::byte> values, const Places& places,
                   const std::function<std::vector<Place>(std::span<const std::byte>)>& run);
  std::vector<std::byte> changed(const Plan& plan, std::span<const std::byte> values,
                                 const Places& places);
  void change_results(const std::vector<Place>& results);
  void change_pair(const std::vector<Place>& results);
  void overwrite_operand(const Place& operand, const std::vector<Place>& results);
  void with_old_operands(const Places& places, const Action& run);
  void before_changes(const Plan& plan, const Places& places);
  void after_changes(const Places& places);
  void add_results(std::span<const Place> results, bool is_described);
  void follow_partner(TensorId id);
  void separate(TensorId id);

  std::unique_ptr<Executor> executor_;
  Mutation mutation_;
  std::uint32_t device_count_;
  std::unordered_map<std::uint32_t, Operator> operators_;
  std::unordered_map<std::uint32_t, Plan> plans_;
  std::map<std::string, std::int64_t> commands_;
  std::int64_t acted_ = 0;
  std::uint64_t matches_ = 0;
  std::vector<Deferred> deferred_;
  History history_;
  std::unordered_map<TensorId, Origin> origins_;
  std::unordered_map<TensorId, TensorId> partners_;  // storages that share what is written
};

// The first device is the executor without a defect, device i the table's mutant i - 1.
executor::ExecutorFactory mutant_executor_factory(executor::ExecutorFactory factory,
                                                  std::vector<Mutation> table);

}  // namespace torch_remote::mutants
