// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What a mutant does with each command; mutant_calls.cpp has what is wrong with single operators.
#include "conformance/mutants/mutant_executor.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include "conformance/mutants/operators.h"

namespace torch_remote::mutants {
namespace {

constexpr std::uint64_t kLargeWriteSizeBytes = 32 * 1024;  // a message's payload by itself
constexpr std::uint64_t kLargeStorageSizeBytes = 1024;

// From the default generator, which no argument names, or from another one.
bool draws(std::string_view operator_name, const protocol::PlanDefinition& definition) {
  const auto found = std::ranges::find(operators(), operator_name, &mutants::Operator::name);
  if (found != operators().end() && found->has(kRandom)) return true;
  return std::ranges::any_of(definition.arguments, [](const protocol::Argument& argument) {
    return argument.kind == protocol::ArgumentKind::kGenerator;
  });
}

std::vector<std::byte> owned(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

}  // namespace

MutantExecutor::MutantExecutor(std::unique_ptr<Executor> executor, Mutation mutation,
                               std::uint32_t device_count)
    : executor_(std::move(executor)),
      mutation_(std::move(mutation)),
      device_count_(device_count),
      history_(*executor_, mutation_.variation) {}

std::map<std::string, std::string> MutantExecutor::describe() const {
  auto description = executor_->describe();
  description["mutant"] = mutants::describe(mutation_);
  return description;
}

void MutantExecutor::define_operator(std::uint32_t number, std::uint64_t schema_hash,
                                     std::string_view name, std::string_view overload) {
  Operator& entry = operators_[number];
  entry.name = name;
  if (!overload.empty()) entry.name += "." + std::string(overload);
  entry.is_mutated = entry.name == mutation_.operator_name;
  executor_->define_operator(number, schema_hash, name, overload);
}

void MutantExecutor::define_plan(const protocol::PlanDefinition& definition) {
  Plan& plan = plans_[definition.plan];
  plan = {.definition = definition};
  const protocol::PlanDefinition other =
      operators_[definition.operator_number].is_mutated ? changed(definition) : definition;
  plan.is_changed = other != definition;
  executor_->define_plan(other);
}

void MutantExecutor::call(std::uint32_t number, std::span<const std::byte> values) {
  Plan& plan = plans_[number];
  ++operators_[plan.definition.operator_number].calls;
  if (is(Kind::kNone)) return executor_->call(number, values);
  const Places places = find_places(plan.definition, values);
  command(
      "call", matches_call(plan, places), [&] { run_call(plan, values, places); },
      [&]() -> Action {
        return [this, number, copy = owned(values), outputs = places.outputs] {
          for (const Place& output : outputs) executor_->free(output.id);
          executor_->call(number, copy);
        };
      });
}

std::vector<protocol::DescribedOutput> MutantExecutor::call_and_describe(
    std::uint32_t number, TensorId first_output_id, std::span<const std::byte> values) {
  Plan& plan = plans_[number];
  ++operators_[plan.definition.operator_number].calls;
  std::vector<protocol::DescribedOutput> described;
  const auto run = [&](std::span<const std::byte> changed_values) {
    described = executor_->call_and_describe(number, first_output_id, changed_values);
    const std::vector<Place> results = find_places(described, first_output_id);
    add_results(results, /*is_described=*/true);
    return results;
  };
  if (is(Kind::kNone)) {
    run(values);
    return described;
  }
  const Places places = find_places(plan.definition, values);
  ++plan.calls;
  if (is_mutated_call(plan, places)) {
    run_mutated(plan, values, places, run);
  } else {
    with_old_operands(places, [&] { run(values); });
  }
  after_command();
  return described;
}

void MutantExecutor::allocate(TensorId id, std::uint64_t size_bytes) {
  executor_->allocate(id, size_bytes);
  history_.add(id, size_bytes, /*has_content=*/false);
  after_command();
}

void MutantExecutor::free(TensorId id) noexcept {
  const bool matches = matches_free(id);
  separate(id);
  history_.forget(id);
  origins_.erase(id);
  if (is(Kind::kLeaked) && strikes(matches)) {
    ++acted_;
  } else if (is(Kind::kLateFree) && strikes(matches)) {
    ++acted_;
    deferred_.push_back({mutation_.delay + 1, [this, id] { executor_->free(id); }});
  } else {
    executor_->free(id);
  }
  after_command();
}

void MutantExecutor::write(TensorId id, std::uint64_t offset_bytes,
                           std::span<const std::byte> bytes) {
  const bool matches = (is(Variation::kWrite) || is(Variation::kWriteShifted) ||
                        (is(Variation::kWriteAtOffset) && offset_bytes > 0) ||
                        (is(Variation::kLargeWrite) && bytes.size() >= kLargeWriteSizeBytes)) &&
                       !bytes.empty();
  command(
      "write", matches,
      [&] {
        history_.before_change(id, History::Cause::kWrite);
        executor_->write(id, offset_bytes, bytes);
        follow_partner(id);
      },
      [&]() -> Action {
        const std::size_t shift = is(Variation::kWriteShifted) ? 1 : 0;
        return [this, id, offset = offset_bytes + shift,
                copy = owned(bytes.first(bytes.size() - shift))] {
          executor_->write(id, offset, copy);
        };
      });
}

void MutantExecutor::read(TensorId id, std::uint64_t offset_bytes,
                          std::span<std::byte> destination) {
  executor_->read(id, offset_bytes, destination);
  ++commands_["read"];
  origins_[id].was_read = true;
  history_.before_read(id);
  const bool is_of_reads =
      !is(Variation::kOperandBeforeWrite) && !is(Variation::kOperandBeforeInPlaceCall);
  const Bytes* old = is(Kind::kStaleRead) && is_of_reads ? history_.old(id) : nullptr;
  if (strikes(old != nullptr) && old->size() >= offset_bytes + destination.size()) {
    const std::size_t first = is(Variation::kReadSecondHalfOld) ? destination.size() / 2 : 0;
    const auto stale = std::span(*old).subspan(offset_bytes, destination.size()).subspan(first);
    if (!std::ranges::equal(stale, destination.subspan(first))) ++acted_;
    std::ranges::copy(stale, destination.subspan(first).begin());
  }
  after_command();
}

void MutantExecutor::resize(TensorId id, TensorId new_id, std::uint64_t size_bytes) {
  ++commands_["resize"];
  separate(id);
  executor_->resize(id, new_id, size_bytes);
  history_.rename(id, new_id);
  history_.add(new_id, size_bytes, /*has_content=*/true);
  if (is(Variation::kResizedBytes) && strikes(size_bytes > 0)) {
    ++acted_;
    executor_->write(new_id, 0, std::vector<std::byte>(size_bytes));
  }
  after_command();
}

void MutantExecutor::rename(TensorId id, TensorId new_id) {
  separate(id);
  executor_->rename(id, new_id);
  history_.rename(id, new_id);
  origins_[new_id] = origins_[id];
  if (id != new_id) origins_.erase(id);
  after_command();
}

void MutantExecutor::seed(std::uint64_t generator, std::uint64_t seed) {
  command(
      "seed", is(Variation::kSeed), [&] { executor_->seed(generator, seed); },
      [&]() -> Action { return [this, generator, seed] { executor_->seed(generator, seed); }; });
}

std::vector<std::byte> MutantExecutor::generator_state(std::uint64_t generator) {
  ++commands_["get_generator_state"];
  return executor_->generator_state(generator);
}

void MutantExecutor::set_generator_state(std::uint64_t generator,
                                         std::span<const std::byte> state) {
  command(
      "set_generator_state", is(Variation::kGeneratorState),
      [&] { executor_->set_generator_state(generator, state); },
      [&]() -> Action {
        return [this, generator, copy = owned(state)] {
          executor_->set_generator_state(generator, copy);
        };
      });
}

protocol::Numbers MutantExecutor::memory_statistics() {
  protocol::Numbers numbers = executor_->memory_statistics();
  numbers["mutant.acted"] = acted_;
  for (const auto& [number, one] : operators_) {
    if (one.calls > 0) numbers["calls." + one.name] += one.calls;
  }
  for (const auto& [name, count] : commands_) numbers["commands." + name] = count;
  return numbers;
}

// Whether this is the one among every so many that match.
bool MutantExecutor::strikes(bool matches) { return matches && ++matches_ % mutation_.every == 0; }

void MutantExecutor::command(const char* name, bool matches, const Action& now,
                             const std::function<Action()>& make_later) {
  ++commands_[name];
  if (is(Kind::kLost) && strikes(matches)) {
    ++acted_;
  } else if (is(Kind::kReordered) && strikes(matches)) {
    ++acted_;
    deferred_.push_back({mutation_.delay + 1, make_later()});
  } else {
    now();
    if (is(Kind::kRepeated) && strikes(matches)) {
      ++acted_;
      deferred_.push_back({mutation_.delay + 1, make_later()});
    }
  }
  after_command();
}

void MutantExecutor::after_command() {
  for (Deferred& one : deferred_) {
    if (--one.remaining > 0) continue;
    try {
      one.run();
    } catch (const std::exception&) {
      // Its storage is gone meanwhile: nobody can see it.
    }
  }
  std::erase_if(deferred_, [](const Deferred& one) { return one.remaining == 0; });
}

bool MutantExecutor::matches_call(const Plan& plan, const Places& places) const {
  const std::string& name = operators_.at(plan.definition.operator_number).name;
  if (is(Variation::kDraw)) return draws(name, plan.definition);
  const bool writes = std::ranges::any_of(places.arguments, &Place::is_written);
  if (!writes || !places.outputs.empty()) return false;
  if (is(Variation::kCopy)) return name == "aten::copy_";
  return is(Variation::kInPlaceCall);
}

bool MutantExecutor::matches_free(TensorId id) const {
  const auto found = origins_.find(id);
  const Origin origin = found != origins_.end() ? found->second : Origin{};
  switch (mutation_.variation) {
    case Variation::kFree:
      return true;
    case Variation::kLargeFree:
      return history_.size_bytes(id) >= kLargeStorageSizeBytes;
    case Variation::kDescribedFree:
      return origin.is_described;
    case Variation::kListFree:
      return origin.is_in_list;
    case Variation::kReadFree:
      return origin.was_read;
    default:
      return false;
  }
}

executor::ExecutorFactory mutant_executor_factory(executor::ExecutorFactory factory,
                                                  std::vector<Mutation> table) {
  return [factory = std::move(factory), table = std::move(table)](
             const protocol::Hello& hello) -> std::unique_ptr<executor::Executor> {
    protocol::Hello first = hello;
    first.device_index = 0;
    const auto device_count = static_cast<std::uint32_t>(table.size()) + 1;
    Mutation mutation;
    if (hello.device_index > 0 && hello.device_index < device_count)
      mutation = table[hello.device_index - 1];
    return std::make_unique<MutantExecutor>(factory(first), mutation, device_count);
  };
}

}  // namespace torch_remote::mutants
