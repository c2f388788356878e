// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/run_operator.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/to.h>
#include <algorithm>
#include <c10/util/Exception.h>
#include <c10/util/SmallVector.h>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/client/call_encoder.h"
#include "core/client/default_dtype.h"
#include "core/client/device.h"
#include "core/client/errors.h"
#include "core/client/inference.h"
#include "core/client/learned_layouts.h"
#include "core/client/out_arguments.h"
#include "core/client/recording.h"
#include "core/client/source_location.h"
#include "core/client/sparse_rules.h"
#include "core/client/sparse_tensors.h"
#include "core/client/storage.h"
#include "core/client/streams.h"
#include "core/protocol/plan.h"

namespace torch_remote::client {
namespace {

using Arguments = c10::ArrayRef<c10::IValue>;
using Plan = std::shared_ptr<const ClientPlan>;
using session::Session;
using session::TensorId;
using Outputs = c10::SmallVector<session::NewStorage, 4>;

// One call on its way: what is known of it so far.
class Call {
 public:
  Call(const OperatorRecord& record, Arguments arguments) : record_(record), arguments_(arguments) {
    encode_call(record, arguments, encoded_);
    device_ = &device_at(encoded_.device_index);
  }

  Device& device() { return *device_; }
  bool has_sparse_arguments() const { return encoded_.has_sparse_arguments; }

  // The results in order. Empty when arguments had to be resized first: then encode anew.
  std::optional<std::vector<c10::IValue>> run() {
    const std::uint32_t location = capture_source_location();
    prepare_recording(*device_);
    Session::Turn turn = turn_of(*device_);
    if (const auto number = device_->plan_table().find(encoded_.plan_key(), encoded_.hash)) {
      const Plan plan = device_->plan(*number);
      return send(std::move(turn), *number, plan, location);
    }
    return run_new_plan(std::move(turn), location);
  }

 private:
  // The shape function may run Python, which no lock of ours may wait for: the turn ends meanwhile.
  std::optional<std::vector<c10::IValue>> run_new_plan(Session::Turn first_turn,
                                                       std::uint32_t location) {
    {
      const Session::Turn ended = std::move(first_turn);
    }
    const bool learns = record_.learns_layouts() && device_->has_values();
    const Plan plan =
        learns ? described_plan() : infer_plan(record_, arguments_, device_->kernels());
    if (!plan->resizes.empty()) {
      resize_arguments(*plan);
      return std::nullopt;
    }
    protocol::ByteWriter definition;
    write_definition(*plan, definition);
    Session::Turn turn = turn_of(*device_);
    // Another thread may have made the same plan in between.
    if (const auto number = device_->plan_table().find(encoded_.plan_key(), encoded_.hash)) {
      const Plan made_meanwhile = device_->plan(*number);
      return send(std::move(turn), *number, made_meanwhile, location);
    }
    if (device_->needs_definition(record_.number())) {
      turn.define_operator(record_.number(), record_.schema_hash(), record_.name(),
                           record_.overload());
    }
    const std::uint32_t number = device_->plan_table().insert(encoded_.plan_key(), encoded_.hash);
    define(turn, number, plan, definition);
    auto results = send(std::move(turn), number, plan, location);
    if (learns) learn_from(results);
    return results;
  }

  void define(Session::Turn& turn, std::uint32_t number, const Plan& plan,
              protocol::ByteWriter& definition) {
    device_->plan(number) = plan;
    definition.overwrite(0, number);
    turn.define_plan(definition.bytes());
  }

  // The next calls with this key need not ask.
  void learn_from(const std::vector<c10::IValue>& results) {
    const Plan plan = plan_with_layouts_of(record_, results);
    protocol::ByteWriter definition;
    write_definition(*plan, definition);
    Session::Turn turn = turn_of(*device_);
    // The plan may have been evicted in between.
    if (const auto number = device_->plan_table().find(encoded_.plan_key(), encoded_.hash))
      define(turn, *number, plan, definition);
  }

  // plan is the caller's own reference: the table may drop its one as soon as the turn has ended.
  std::vector<c10::IValue> send(Session::Turn turn, std::uint32_t number, const Plan& plan,
                                std::uint32_t location) {
    if (plan->describes_outputs) return describe(std::move(turn), number, location);
    Outputs outputs;
    OperationMark mark(*device_);
    {
      Session::Turn held = std::move(turn);  // ends before tensors are made
      reserve_outputs(held, *plan, outputs);
      if (mark) [[unlikely]]
        mark.begin(held);
      held.call(number, location, encoded_.value_bytes(), {outputs.data(), outputs.size()});
      if (mark) [[unlikely]]
        mark.end(held, recorded(location), held.modelled_span());
    }
    return make_results(*plan, outputs);
  }

  RecordedOperation recorded(std::uint32_t location) const {
    return {.name = record_.full_name(), .location = location};
  }

  void reserve_outputs(Session::Turn& turn, const ClientPlan& plan, Outputs& outputs) {
    try {
      for (const PlannedTensor& tensor : plan.tensors) {
        const std::uint64_t size_bytes = tensor.storage_size_bytes;
        outputs.push_back({.id = turn.reserve_output(size_bytes), .size_bytes = size_bytes});
        encoded_.append(outputs.back().id);
      }
    } catch (...) {
      turn.cancel_outputs({outputs.data(), outputs.size()});
      throw;
    }
  }

  std::vector<c10::IValue> make_results(const ClientPlan& plan, const Outputs& outputs) {
    std::vector<c10::IValue> results;
    results.reserve(plan.returns.size());
    std::size_t next = 0;
    const auto make_next = [&] {
      const std::size_t i = next++;
      return make_tensor(*device_, outputs[i].id, plan.tensors[i]);
    };
    for (const PlannedReturn& planned : plan.returns) {
      switch (planned.kind) {
        case PlannedReturn::Kind::kTensor:
          results.emplace_back(make_next());
          break;
        case PlannedReturn::Kind::kArgument:
          results.push_back(arguments_[static_cast<std::size_t>(planned.value)]);
          break;
        case PlannedReturn::Kind::kUndefined:
          results.emplace_back(at::Tensor());
          break;
        case PlannedReturn::Kind::kInteger:
          results.emplace_back(planned.value);
          break;
        case PlannedReturn::Kind::kList: {
          c10::List<at::Tensor> list;
          for (std::int64_t i = 0; i < planned.value; ++i) list.push_back(make_next());
          results.emplace_back(std::move(list));
        }
      }
    }
    return results;
  }

  void write_definition(const ClientPlan& plan, protocol::ByteWriter& writer) const {
    writer.put(std::uint32_t{0});  // the number, once there is one
    writer.put(record_.number());
    writer.put(static_cast<std::uint8_t>(plan.describes_outputs));
    define_arguments(record_, arguments_, writer);
    writer.put(static_cast<std::uint16_t>(plan.returns.size()));
    std::size_t next = 0;
    const auto put_fresh = [&] {
      const PlannedTensor& tensor = plan.tensors[next++];
      writer.put(protocol::OutputKind::kFresh);
      put_layout(writer, static_cast<protocol::DataType>(tensor.dtype), tensor.flags,
                 {tensor.sizes.data(), tensor.sizes.size()},
                 {tensor.strides.data(), tensor.strides.size()});
    };
    for (const PlannedReturn& planned : plan.returns) {
      switch (planned.kind) {
        case PlannedReturn::Kind::kTensor:
          put_fresh();
          break;
        case PlannedReturn::Kind::kArgument:
          writer.put(protocol::OutputKind::kArgument);
          break;
        case PlannedReturn::Kind::kUndefined:
        case PlannedReturn::Kind::kInteger:
          writer.put(protocol::OutputKind::kUndefined);
          break;
        case PlannedReturn::Kind::kList:
          writer.put(protocol::OutputKind::kList);
          writer.put(static_cast<std::uint32_t>(planned.value));
          for (std::int64_t i = 0; i < planned.value; ++i) put_fresh();
      }
    }
  }

  void resize_arguments(const ClientPlan& plan) const {
    for (const ClientPlan::Resize& resize : plan.resizes) {
      const at::Tensor& out = arguments_[resize.argument].toTensor();
      if (record_.name() == "aten::index_select") refuse_overlap_within(out);  // as its kernel
      resize_out(out, resize.sizes, resize.strides);
    }
  }

  // The executor says what the results are; they then get ids that fit their sizes.
  std::vector<c10::IValue> describe(Session::Turn turn, std::uint32_t number,
                                    std::uint32_t location) {
    OperationMark mark(*device_);
    Session::Turn held = std::move(turn);
    if (mark) mark.begin(held);
    const auto described =
        std::move(held).call_and_describe(number, location, encoded_.value_bytes());
    if (mark) {
      Session::Turn after = turn_of(*device_);
      mark.end(after, recorded(location), described.span);
    }
    return DescribedResults(*this, described, location).take();
  }

  class DescribedResults {
   public:
    DescribedResults(Call& call, const Session::Turn::Described& described, std::uint32_t location)
        : call_(call),
          described_(described),
          location_(location),
          next_id_(described.provisional_id) {}

    // Takes the outputs over, all or none: those that nobody will name are given back.
    std::vector<c10::IValue> take() {
      try {
        return take_all();
      } catch (...) {
        discard_the_rest();
        throw;
      }
    }

   private:
    std::vector<c10::IValue> take_all() {
      using Kind = protocol::DescribedOutput::Kind;
      for (const protocol::DescribedOutput* next = take_next(); next != nullptr;
           next = take_next()) {
        const protocol::DescribedOutput& output = *next;
        switch (output.kind) {
          case Kind::kTensor:
            add(adopt(output));
            break;
          case Kind::kSparseTensor:
            add(adopt_sparse(output.sparse));
            break;
          case Kind::kKeptComponent:
            break;  // comes with a sparse tensor, never alone
          case Kind::kUndefined:
            add(at::Tensor());
            break;
          case Kind::kInteger:
            add(output.integer);
            break;
          case Kind::kBoolean:
            add(output.integer != 0);
            break;
          case Kind::kDouble:
            add(output.number);
            break;
          case Kind::kListBegin:
            list_.emplace();
            break;
          case Kind::kListEnd:
            results_.emplace_back(*std::exchange(list_, std::nullopt));
            break;
        }
      }
      const auto& returns = call_.record_.returns();
      TORCH_CHECK(results_.size() == returns.size(), call_.record_.full_name(),
                  ": the executor described ", results_.size(), " results instead of ",
                  returns.size());
      for (std::size_t i = 0; i < returns.size(); ++i) {
        if (returns[i].written_argument >= 0)
          results_[i] = call_.arguments_[static_cast<std::size_t>(returns[i].written_argument)];
      }
      return std::move(results_);
    }

    void discard_the_rest() {
      using Kind = protocol::DescribedOutput::Kind;
      const auto tensors =
          std::ranges::count(described_.outputs, Kind::kTensor, &protocol::DescribedOutput::kind);
      const TensorId end = described_.provisional_id + static_cast<TensorId>(tensors);
      for (; next_id_ < end; ++next_id_) turn_of(*call_.device_).discard(next_id_);
    }

    void add(c10::IValue value) {
      if (list_) {
        TORCH_CHECK(value.isTensor(), call_.record_.full_name(),
                    ": the executor described a list of something else than tensors");
        list_->push_back(value.toTensor());
      } else {
        results_.push_back(std::move(value));
      }
    }

    at::Tensor adopt(const protocol::DescribedOutput& output) {
      PlannedTensor planned;
      planned.dtype = static_cast<c10::ScalarType>(output.layout.dtype);
      planned.sizes.assign(output.layout.sizes.begin(), output.layout.sizes.end());
      planned.strides.assign(output.layout.strides.begin(), output.layout.strides.end());
      planned.storage_size_bytes = output.storage_size_bytes;
      planned.flags = output.layout.flags;
      return make_tensor(*call_.device_, rename_next(output.storage_size_bytes), planned);
    }

    const protocol::DescribedOutput* take_next() {
      return position_ < described_.outputs.size() ? &described_.outputs[position_++] : nullptr;
    }

    // An argument that the operator has written gets its new components, and stays what it is.
    at::Tensor adopt_sparse(const protocol::SparseLayout& layout) {
      at::Tensor argument = written_sparse_argument();
      const auto kept = argument.defined() ? components_of(argument) : std::vector<at::Tensor>();
      std::vector<at::Tensor> components;
      for (std::size_t i = 0; i < component_count(layout.kind); ++i) {
        const protocol::DescribedOutput& component = *take_next();
        const bool is_kept = component.kind == protocol::DescribedOutput::Kind::kKeptComponent;
        TORCH_CHECK(!is_kept || i < kept.size(), call_.record_.full_name(),
                    ": the executor kept a component of what is no argument");
        components.push_back(is_kept ? kept[i] : adopt(component));
      }
      if (!argument.defined()) return make_sparse(layout, components);
      change_sparse(argument, layout, components);
      return argument;
    }

    // The sparse argument that the next result is; undefined for all others.
    at::Tensor written_sparse_argument() const {
      const auto& returns = call_.record_.returns();
      if (list_ || results_.size() >= returns.size()) return {};
      const int written = returns[results_.size()].written_argument;
      if (written < 0) return {};
      const c10::IValue& argument = call_.arguments_[static_cast<std::size_t>(written)];
      return argument.isTensor() && is_sparse(argument.toTensor()) ? argument.toTensor()
                                                                   : at::Tensor();
    }

    TensorId rename_next(std::uint64_t size_bytes) {
      Session::Turn turn = turn_of(*call_.device_);
      const TensorId id = turn.storage(size_bytes, location_);
      turn.rename(next_id_++, id);
      return id;
    }

    Call& call_;
    const Session::Turn::Described& described_;
    std::uint32_t location_;
    TensorId next_id_;
    std::size_t position_ = 0;  // of the next output
    std::vector<c10::IValue> results_;
    std::optional<c10::List<at::Tensor>> list_;
  };

  const OperatorRecord& record_;
  Arguments arguments_;
  EncodedCall encoded_;
  Device* device_ = nullptr;
};

// Index tensors on CPU are taken to the device, as CUDA does.
void upload_indices(torch::jit::Stack& stack, std::size_t first) {
  const at::Tensor& self = stack[first].toTensor();
  bool any = false;
  c10::List<std::optional<at::Tensor>> indices;
  for (const c10::IValue& index : stack[first + 1].toListRef()) {
    std::optional<at::Tensor> tensor =
        index.isTensor() ? std::optional(index.toTensor()) : std::nullopt;
    if (tensor && tensor->defined() && tensor->device().is_cpu()) {
      tensor = tensor->to(self.device());
      any = true;
    }
    indices.push_back(std::move(tensor));
  }
  if (any) stack[first + 1] = std::move(indices);
}

// Autograd has to see that what it kept was changed. For single tensors PyTorch does it itself.
void bump_versions_of_lists(const OperatorRecord& record, Arguments arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const ArgumentTraits& traits = record.arguments()[i];
    if (!traits.written || traits.argument_class != ArgumentClass::kTensorList) continue;
    for (const c10::IValue& element : arguments[i].toListRef()) {
      if (element.isTensor()) element.toTensor().unsafeGetTensorImpl()->bump_version();
    }
  }
}

std::vector<c10::IValue> run(const OperatorRecord& record, Arguments arguments) {
  if (record.functional() != nullptr)
    return run_functional(record, *record.functional(), arguments);
  if (record.is_view()) return make_views(record, arguments);
  for (bool is_resized = false;; is_resized = true) {
    Call call(record, arguments);
    if (call.has_sparse_arguments()) [[unlikely]] {
      if (const auto maker = maker_from_sparse(record, arguments))
        return run_functional(record, *maker, arguments);
    }
    auto results = with_torch_errors(call.device().index(), [&] { return call.run(); });
    if (!results) {
      TORCH_CHECK(!is_resized, record.full_name(),
                  ": out= arguments share memory, and can't take the shapes of different results");
      continue;  // they have got their shapes
    }
    if (is_synchronous()) {
      with_torch_errors(call.device().index(), [&] { call.device().session().synchronize(); });
    }
    return std::move(*results);
  }
}

}  // namespace

void run_operator(const OperatorRecord& record, torch::jit::Stack* stack) {
  const std::size_t count = record.arguments().size();
  const std::size_t first = stack->size() - count;
  if (record.uploads_indices()) [[unlikely]]
    upload_indices(*stack, first);
  if (has_other_default_dtype()) [[unlikely]]
    say_default_dtype(record, *stack);
  const Arguments arguments(stack->data() + first, count);
  auto results = run(record, arguments);
  if (record.writes_lists()) bump_versions_of_lists(record, arguments);
  torch::jit::drop(*stack, count);
  for (c10::IValue& result : results) stack->push_back(std::move(result));
}

void run_operator(const char* name, const char* overload, torch::jit::Stack* stack) {
  run_operator(operator_record(c10::Dispatcher::singleton().findSchemaOrThrow(name, overload)),
               stack);
}

bool is_synchronous() {
  static const bool synchronous = [] {
    const char* value =
        std::getenv("TORCH_REMOTE_SYNC");  // NOLINT(concurrency-mt-unsafe): read once
    return value != nullptr && std::string(value) == "1";
  }();
  return synchronous;
}

}  // namespace torch_remote::client
