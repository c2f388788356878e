// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What is wrong with single operators.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <list>
#include <utility>

#include "conformance/mutants/contents.h"
#include "conformance/mutants/mutant_executor.h"

namespace torch_remote::mutants {
namespace {

using protocol::Argument;
using protocol::ArgumentKind;

void make_contiguous(protocol::TensorLayout& layout) {
  std::int64_t step = 1;
  for (std::size_t i = layout.sizes.size(); i-- > 0;) {
    layout.strides[i] = step;
    step *= std::max<std::int64_t>(layout.sizes[i], 1);
  }
}

// The first operand whose strides can be ignored without reaching beyond its storage.
bool ignore_strides(std::vector<Argument>& arguments) {
  for (Argument& argument : arguments) {
    if (argument.kind == ArgumentKind::kTensorList && ignore_strides(argument.elements))
      return true;
    if (argument.kind != ArgumentKind::kTensor || argument.access == protocol::Access::kWrite ||
        is_contiguous(argument.layout)) {
      continue;
    }
    protocol::TensorLayout contiguous = argument.layout;
    make_contiguous(contiguous);
    if (extent_size_bytes(contiguous) > extent_size_bytes(argument.layout)) continue;
    argument.layout = std::move(contiguous);
    return true;
  }
  return false;
}

// What is read and nothing else in the call has the same storage.
const Place* first_operand(const Places& places) {
  for (const Place& one : places.arguments) {
    const auto uses = std::ranges::count(places.arguments, one.id, &Place::id);
    if (!one.is_written && uses == 1 && element_count(one.layout) > 0) return &one;
  }
  return nullptr;
}

const Place* operand_at_offset(const Places& places) {
  const auto found =
      std::ranges::find_if(places.arguments, [](const Place& one) { return one.offset > 0; });
  return found != places.arguments.end() ? &*found : nullptr;
}

std::vector<Place> results_of(const Places& places, std::span<const Place> outputs) {
  std::vector<Place> results(outputs.begin(), outputs.end());
  std::ranges::copy_if(places.arguments, std::back_inserter(results), &Place::is_written);
  std::erase_if(results, [](const Place& one) { return element_count(one.layout) == 0; });
  return results;
}

void swap_ids(std::vector<std::byte>& values, const Place& one, const Place& other) {
  std::swap_ranges(values.begin() + one.position,
                   values.begin() + one.position + 8 + one.offset_size_bytes,
                   values.begin() + other.position);
}

void change_varying(std::vector<std::byte>& values, std::uint32_t position, ArgumentKind kind) {
  if (kind == ArgumentKind::kVaryingInteger || kind == ArgumentKind::kVaryingBoolean) {
    std::int64_t number = 0;
    std::memcpy(&number, values.data() + position, sizeof(number));
    number = kind == ArgumentKind::kVaryingBoolean ? 1 - number : number + 1;
    std::memcpy(values.data() + position, &number, sizeof(number));
  } else {
    double number = 0;
    std::memcpy(&number, values.data() + position, sizeof(number));
    number = number * 1.5 + 0.25;
    std::memcpy(values.data() + position, &number, sizeof(number));
  }
}

bool is_optimizer(const std::string& operator_name) {
  return operator_name.starts_with("aten::_foreach_") || operator_name.starts_with("aten::_fused_");
}

}  // namespace

// ---- definitions ----

protocol::PlanDefinition MutantExecutor::changed(const protocol::PlanDefinition& definition) const {
  protocol::PlanDefinition other = definition;
  if (is(Variation::kOperandContiguous)) ignore_strides(other.arguments);
  if (is(Variation::kNumberChanged) && mutation_.which < other.arguments.size())
    change_number(other.arguments[mutation_.which]);
  return other;
}

// Those that the plan fixes; the others are in the calls' values.
void MutantExecutor::change_number(Argument& argument) const {
  if (argument.kind == ArgumentKind::kBoolean) argument.flag = !argument.flag;
  if (argument.kind == ArgumentKind::kInteger) ++argument.integer;
  if (argument.kind == ArgumentKind::kDouble || argument.kind == ArgumentKind::kComplex)
    argument.number = argument.number * 1.5 + 0.25;
}

// ---- calls ----

bool MutantExecutor::is_mutated_call(const Plan& plan, const Places& places) const {
  if (!operators_.at(plan.definition.operator_number).is_mutated) return false;
  switch (mutation_.condition) {
    case Condition::kAlways:
      return true;
    case Condition::kRepeatedCall:
      return plan.calls > 1;
    case Condition::kOperandWithGaps:
      return std::ranges::any_of(places.arguments,
                                 [](const Place& one) { return !is_contiguous(one.layout); });
    case Condition::kOperandAtOffset:
      return operand_at_offset(places) != nullptr;
  }
  return false;
}

void MutantExecutor::run_call(Plan& plan, std::span<const std::byte> values, const Places& places) {
  ++plan.calls;
  before_changes(plan, places);
  const auto run = [&](std::span<const std::byte> changed_values) {
    executor_->call(plan.definition.plan, changed_values);
    add_results(places.outputs, /*is_described=*/false);
    return places.outputs;
  };
  if (is_mutated_call(plan, places)) {
    run_mutated(plan, values, places, run);
  } else {
    with_old_operands(places, [&] { run(values); });
  }
  after_changes(places);
}

void MutantExecutor::run_mutated(
    Plan& plan, std::span<const std::byte> values, const Places& places,
    const std::function<std::vector<Place>(std::span<const std::byte>)>& run) {
  const Place* operand = first_operand(places);
  if (is(Variation::kOperandTruncated) && operand != nullptr) {
    Contents contents(*executor_, *operand);
    contents.set_last_element_to_zero();
    if (contents.store()) ++acted_;
    try {
      run(values);
    } catch (...) {
      contents.restore();
      throw;
    }
    return contents.restore();
  }
  if (is(Variation::kInPlaceOnCopy)) {
    const std::vector<Place> written = results_of(places, {});
    std::list<Contents> before;
    for (const Place& one : written) before.emplace_back(*executor_, one);
    run(values);
    bool has_changed = false;
    auto old = before.begin();
    for (const Place& one : written) {
      has_changed = has_changed || Contents(*executor_, one).bytes() != old->bytes();
      old++->restore();
    }
    if (has_changed) ++acted_;
    return;
  }
  const std::vector<std::byte> other = changed(plan, values, places);
  if (plan.is_changed || !std::ranges::equal(other, values)) ++acted_;
  const std::vector<Place> results = results_of(places, run(other));
  if (is(Variation::kResultsSwapped) || is(Variation::kResultsShare)) return change_pair(results);
  if (is(Variation::kOperandOverwritten) && operand != nullptr)
    return overwrite_operand(*operand, results);
  if (is(Variation::kSharedWithOperand)) {
    if (operand == nullptr || results.empty() || results[0].is_written) return;
    separate(operand->id);
    partners_[operand->id] = results[0].id;
    partners_[results[0].id] = operand->id;
    return;
  }
  change_results(results);
}

// Other values for the same call.
std::vector<std::byte> MutantExecutor::changed(const Plan& plan, std::span<const std::byte> values,
                                               const Places& places) {
  std::vector<std::byte> other(values.begin(), values.end());
  if (is(Variation::kNumberChanged)) {
    if (const auto position = number_position(plan.definition, mutation_.which))
      change_varying(other, *position, plan.definition.arguments[mutation_.which].kind);
  }
  if (is(Variation::kOperandsSwapped) && places.arguments.size() >= 2) {
    const Place& first = places.arguments[0];
    const Place& second = places.arguments[1];
    if (first.layout == second.layout && first.offset_size_bytes == second.offset_size_bytes)
      swap_ids(other, first, second);
  }
  if (is(Variation::kOperandFromStart)) {
    if (const Place* operand = operand_at_offset(places))
      std::fill_n(other.begin() + operand->position + 8, operand->offset_size_bytes, std::byte{0});
  }
  return other;
}

void MutantExecutor::change_results(const std::vector<Place>& results) {
  if (results.empty()) return;
  const bool is_of_all = is(Kind::kWrongDtype) || is(Kind::kWrongStride);
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!is_of_all && i != mutation_.which % results.size()) continue;
    Contents contents(*executor_, results[i]);
    contents.change(mutation_.variation, mutation_.position);
    if (contents.store()) ++acted_;
  }
}

// The first two results of one layout.
void MutantExecutor::change_pair(const std::vector<Place>& results) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    for (std::size_t j = i + 1; j < results.size(); ++j) {
      if (results[i].layout != results[j].layout) continue;
      Contents first(*executor_, results[i]), second(*executor_, results[j]);
      const Contents copy = first;
      if (is(Variation::kResultsSwapped)) first.take_bytes_of(second);
      second.take_bytes_of(copy);
      const bool has_first_changed = first.store();
      if (second.store() || has_first_changed) ++acted_;
      return;
    }
  }
}

void MutantExecutor::overwrite_operand(const Place& operand, const std::vector<Place>& results) {
  if (results.empty() || results[0].is_written) return;
  Contents contents(*executor_, operand);
  contents.take_bytes_of(Contents(*executor_, results[0]));
  if (contents.store()) ++acted_;
}

// ---- what storages held before ----

void MutantExecutor::with_old_operands(const Places& places, const Action& run) {
  const bool is_of_operands =
      is(Variation::kOperandBeforeWrite) || is(Variation::kOperandBeforeInPlaceCall);
  std::vector<std::pair<TensorId, Bytes>> current;
  for (const Place& one : places.arguments) {
    const Bytes* old = is_of_operands ? history_.old(one.id) : nullptr;
    const auto uses = std::ranges::count(places.arguments, one.id, &Place::id);
    if (one.is_written || uses > 1 || !strikes(old != nullptr)) continue;
    Bytes bytes(old->size());
    executor_->read(one.id, 0, bytes);
    if (bytes != *old) ++acted_;
    executor_->write(one.id, 0, *old);
    current.emplace_back(one.id, std::move(bytes));
  }
  const auto restore = [&] {
    for (const auto& [id, bytes] : current) executor_->write(id, 0, bytes);
  };
  try {
    run();
  } catch (...) {
    restore();
    throw;
  }
  restore();
}

void MutantExecutor::before_changes(const Plan& plan, const Places& places) {
  const auto cause = is_optimizer(operators_.at(plan.definition.operator_number).name)
                         ? History::Cause::kOptimizerCall
                         : History::Cause::kCall;
  for (const Place& one : places.arguments) {
    if (one.is_written) history_.before_change(one.id, cause);
  }
}

void MutantExecutor::after_changes(const Places& places) {
  for (const Place& one : places.arguments) {
    if (one.is_written) follow_partner(one.id);
  }
}

void MutantExecutor::add_results(std::span<const Place> results, bool is_described) {
  for (const Place& one : results) {
    history_.add(one.id, protocol::extent_size_bytes(one.layout), /*has_content=*/true);
    origins_[one.id] = {.is_described = is_described, .is_in_list = one.is_in_list};
  }
}

// ---- shared storages ----

void MutantExecutor::follow_partner(TensorId id) {
  const auto found = partners_.find(id);
  if (found == partners_.end()) return;
  Bytes bytes(std::min(history_.size_bytes(id), history_.size_bytes(found->second)));
  executor_->read(id, 0, bytes);
  executor_->write(found->second, 0, bytes);
  ++acted_;
}

void MutantExecutor::separate(TensorId id) {
  const auto found = partners_.find(id);
  if (found == partners_.end()) return;
  partners_.erase(found->second);
  partners_.erase(id);
}

}  // namespace torch_remote::mutants
