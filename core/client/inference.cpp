// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/inference.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>
#include <algorithm>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <exception>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "core/client/sparse_rules.h"
#include "core/client/storage.h"

namespace torch_remote::client {
namespace {

// The arguments as meta tensors: what the shape function may look at.
class MetaArguments {
 public:
  // shared_storages: tensors that share a storage here share one there, as a view operator must
  // see.
  MetaArguments(c10::ArrayRef<c10::IValue> arguments, bool shared_storages)
      : shared_storages_(shared_storages) {
    stack_.reserve(arguments.size());
    for (const c10::IValue& argument : arguments) stack_.push_back(convert(argument));
  }

  torch::jit::Stack& stack() { return stack_; }

 private:
  c10::IValue convert(const c10::IValue& value) {
    if (value.isTensor()) return convert(value.toTensor());
    if (value.isDevice()) return c10::Device(c10::DeviceType::Meta);
    if (value.isGenerator()) return {};
    if (!value.isList() || value.isIntList() || value.isDoubleList() || value.isBoolList())
      return value;
    const auto list = value.toListRef();
    const bool has_tensors =
        std::ranges::any_of(list, [](const c10::IValue& element) { return element.isTensor(); });
    if (!has_tensors) return value;
    c10::impl::GenericList converted(value.toList().elementType());
    for (const c10::IValue& element : list) converted.push_back(convert(element));
    return converted;
  }

  at::Tensor convert(const at::Tensor& tensor) {
    // A host scalar stays what it is: type promotion asks whether it is a wrapped number.
    if (!tensor.defined() || tensor.device().type() != c10::DeviceType::PrivateUse1) return tensor;
    at::Tensor meta = shared_storages_
                          ? on_shared_storage(tensor)
                          : at::detail::empty_strided_meta(tensor.sizes(), tensor.strides(),
                                                           tensor.scalar_type());
    if (tensor.is_conj()) meta._set_conj(true);
    if (tensor.is_neg()) meta._set_neg(true);
    return meta;
  }

  at::Tensor on_shared_storage(const at::Tensor& tensor) {
    c10::Storage& storage = storages_[tensor.storage().unsafeGetStorageImpl()];
    if (!storage) {
      const auto elements = static_cast<std::int64_t>(tensor.storage().nbytes());
      storage = at::detail::empty_meta({elements}, c10::ScalarType::Byte).storage();
    }
    auto meta = at::detail::make_tensor<c10::TensorImpl>(
        c10::TensorImpl::VIEW, c10::Storage(storage), c10::DispatchKeySet(c10::DispatchKey::Meta),
        tensor.dtype());
    meta.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(),
                                                      tensor.storage_offset());
    return meta;
  }

  bool shared_storages_;
  torch::jit::Stack stack_;
  std::unordered_map<c10::StorageImpl*, c10::Storage> storages_;
};

void call_meta(const OperatorRecord& record, torch::jit::Stack& stack) {
  constexpr c10::DispatchKeySet kMeta(c10::DispatchKey::Meta);
  if (record.meta_function() != nullptr) {
    record.meta_function()->callBoxed(record.handle(), kMeta, &stack);
  } else {
    record.handle().redispatchBoxed(kMeta, &stack);
  }
}

void add_tensor(ClientPlan& plan, const at::Tensor& meta, const OperatorRecord& record) {
  if (!meta.defined()) {
    plan.returns.push_back({.kind = PlannedReturn::Kind::kUndefined});
    return;
  }
  TORCH_CHECK(meta.layout() == c10::Layout::Strided, record.full_name(), " gives a ", meta.layout(),
              " tensor, which a remote device can't hold");
  PlannedTensor tensor;
  tensor.dtype = meta.scalar_type();
  tensor.sizes.assign(meta.sizes().begin(), meta.sizes().end());
  tensor.strides.assign(meta.strides().begin(), meta.strides().end());
  tensor.storage_size_bytes =
      at::detail::computeStorageNbytes(meta.sizes(), meta.strides(), meta.element_size());
  plan.tensors.push_back(std::move(tensor));
  plan.returns.push_back({.kind = PlannedReturn::Kind::kTensor});
}

void add_list(ClientPlan& plan, const c10::IValue& list, const OperatorRecord& record) {
  const std::size_t position = plan.returns.size();
  for (const c10::IValue& element : list.toListRef()) {
    TORCH_CHECK(element.toTensor().defined(), record.full_name(),
                " gives a list with an undefined tensor, which can't be planned");
    add_tensor(plan, element.toTensor(), record);
  }
  plan.returns.resize(position);  // the elements are told by the list's count
  plan.returns.push_back({.kind = PlannedReturn::Kind::kList,
                          .value = static_cast<std::int64_t>(list.toListRef().size())});
}

void add_written_arguments(ClientPlan& plan, const OperatorRecord& record) {
  for (const ReturnTraits& result : record.returns()) {
    plan.returns.push_back(
        {.kind = PlannedReturn::Kind::kArgument, .value = result.written_argument});
  }
}

// Whether an argument is an out= that is no input as well: one that may take another shape.
bool is_only_out(const OperatorRecord& record, c10::ArrayRef<c10::IValue> arguments,
                 std::size_t index) {
  if (!record.handle().schema().arguments()[index].kwarg_only()) return false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!record.arguments()[i].written && arguments[i].isTensor() &&
        arguments[i].toTensor().is_same(arguments[index].toTensor()))
      return false;
  }
  return true;
}

// Structured operators give an out= argument another shape when its own does not fit.
void note_resizes(ClientPlan& plan, const OperatorRecord& record,
                  c10::ArrayRef<c10::IValue> arguments,
                  const std::vector<c10::IValue>& meta_arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!record.arguments()[i].written || !arguments[i].isTensor() ||
        !arguments[i].toTensor().defined())
      continue;
    const at::Tensor& meta = meta_arguments[i].toTensor();
    const c10::IntArrayRef sizes = arguments[i].toTensor().sizes();
    if (meta.sizes() == sizes) continue;
    TORCH_CHECK(is_only_out(record, arguments, i), "output with shape ", sizes,
                " doesn't match the broadcast shape ", meta.sizes());
    plan.resizes.push_back(
        {.argument = i, .sizes = meta.sizes().vec(), .strides = meta.strides().vec()});
  }
}

// The strides in which the kernel makes outs of another shape.
void ask_for_strides(ClientPlan& plan, const OperatorRecord& record,
                     c10::ArrayRef<c10::IValue> arguments) {
  if (plan.resizes.empty() || record.teller_of_strides() == nullptr) return;
  std::vector<c10::IValue> inputs;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!record.arguments()[i].written) inputs.push_back(arguments[i]);
  }
  const auto told = infer_plan(operator_record(*record.teller_of_strides()), inputs, plan.kernels);
  if (told->tensors.size() != record.returns().size()) return;
  for (ClientPlan::Resize& resize : plan.resizes) {
    for (std::size_t i = 0; i < told->tensors.size(); ++i) {
      if (record.returns()[i].written_argument == static_cast<int>(resize.argument))
        resize.strides.assign(told->tensors[i].strides.begin(), told->tensors[i].strides.end());
    }
  }
}

// What the rule for the overload that makes its results says of an out= overload.
bool infer_by_rule_of_results(ClientPlan& plan, const OperatorRecord& record,
                              c10::ArrayRef<c10::IValue> arguments) {
  ClientPlan results;
  results.kernels = plan.kernels;
  if (!record.rule_of_results()(arguments, results)) return false;
  for (std::size_t i = 0; i < results.tensors.size(); ++i) {
    const auto argument = static_cast<std::size_t>(record.returns()[i].written_argument);
    const PlannedTensor& made = results.tensors[i];
    if (arguments[argument].toTensor().sizes() == c10::IntArrayRef(made.sizes)) continue;
    plan.resizes.push_back({.argument = argument,
                            .sizes = {made.sizes.begin(), made.sizes.end()},
                            .strides = {made.strides.begin(), made.strides.end()}});
  }
  add_written_arguments(plan, record);
  return true;
}

bool has_mask(c10::ArrayRef<c10::IValue> arguments) {
  const auto is_mask = [](const c10::IValue& index) {
    return index.isTensor() && index.toTensor().defined() &&
           (index.toTensor().scalar_type() == c10::ScalarType::Bool ||
            index.toTensor().scalar_type() == c10::ScalarType::Byte);
  };
  return std::ranges::any_of(arguments[1].toListRef(), is_mask);
}

std::shared_ptr<const ClientPlan> infer_by_meta(const OperatorRecord& record,
                                                c10::ArrayRef<c10::IValue> arguments,
                                                Kernels kernels) {
  MetaArguments meta(arguments, /*shared_storages=*/false);
  const std::vector<c10::IValue> meta_arguments = meta.stack();
  call_meta(record, meta.stack());
  if (has_sparse_tensor(meta.stack())) return described_plan();  // how many values has it?
  auto plan = std::make_shared<ClientPlan>();
  plan->kernels = kernels;
  for (std::size_t i = 0; i < record.returns().size(); ++i) {
    const ReturnTraits& traits = record.returns()[i];
    if (traits.written_argument >= 0) {
      plan->returns.push_back(
          {.kind = PlannedReturn::Kind::kArgument, .value = traits.written_argument});
    } else if (traits.is_tensor_list) {
      add_list(*plan, meta.stack()[i], record);
    } else {
      add_tensor(*plan, meta.stack()[i].toTensor(), record);
    }
  }
  note_resizes(*plan, record, arguments, meta_arguments);
  ask_for_strides(*plan, record, arguments);
  return plan;
}

// Whether the executor has to tell the results. Operators that programs make (torch.library) have a
// Meta kernel in any case, which says in words alone that there is no fake kernel behind it, or one
// whose shapes depend on values.
bool needs_executor(const OperatorRecord& record, const std::exception& error) {
  if (dynamic_cast<const c10::NotImplementedError*>(&error) != nullptr) return true;
  if (record.name().starts_with("aten::")) return false;
  const std::string_view text = error.what();
  return text.find("data-dependent shape") != std::string_view::npos ||
         text.find("no fake impl registered") != std::string_view::npos;
}

}  // namespace

std::shared_ptr<const ClientPlan> described_plan() {
  auto plan = std::make_shared<ClientPlan>();
  plan->describes_outputs = true;
  return plan;
}

std::shared_ptr<const ClientPlan> infer_plan(const OperatorRecord& record,
                                             c10::ArrayRef<c10::IValue> arguments,
                                             Kernels kernels) {
  auto plan = std::make_shared<ClientPlan>();
  plan->kernels = kernels;
  if (has_sparse_tensor(arguments))
    return infer_from_sparse(record, arguments, *plan) ? plan : described_plan();
  if (record.shape_rule() != nullptr && record.shape_rule()(arguments, *plan)) return plan;
  if (record.rule_of_results() != nullptr && infer_by_rule_of_results(*plan, record, arguments))
    return plan;
  if (record.needs_no_inference()) {
    add_written_arguments(*plan, record);
    return plan;
  }
  if (record.describes_outputs() ||
      (record.makes_something() && record.uploads_indices() && has_mask(arguments))) {
    return described_plan();
  }
  try {
    return infer_by_meta(record, arguments, kernels);
  } catch (const std::exception& error) {
    if (!needs_executor(record, error)) throw;
    if (!record.makes_something()) {
      plan = std::make_shared<ClientPlan>();
      add_written_arguments(*plan, record);
      return plan;
    }
    return described_plan();
  }
}

std::vector<c10::IValue> make_views(const OperatorRecord& record,
                                    c10::ArrayRef<c10::IValue> arguments) {
  MetaArguments meta(arguments, /*shared_storages=*/true);
  call_meta(record, meta.stack());
  const auto view_of = [&](int argument, const at::Tensor& result) {
    TORCH_CHECK(argument >= 0 && arguments[static_cast<std::size_t>(argument)].isTensor(),
                record.full_name(), ": a view of a list of tensors is not supported");
    const at::Tensor& source = arguments[static_cast<std::size_t>(argument)].toTensor();
    at::Tensor view = make_view(source.storage(), result.scalar_type(), result.sizes(),
                                result.strides(), result.storage_offset());
    if (result.is_conj()) view._set_conj(true);
    if (result.is_neg()) view._set_neg(true);
    return view;
  };
  std::vector<c10::IValue> views;
  for (std::size_t i = 0; i < record.returns().size(); ++i) {
    const ReturnTraits& traits = record.returns()[i];
    if (traits.is_tensor) {
      views.emplace_back(view_of(traits.viewed_argument, meta.stack()[i].toTensor()));
      continue;
    }
    c10::List<at::Tensor> list;
    for (const at::Tensor& result : meta.stack()[i].toTensorVector())
      list.push_back(view_of(traits.viewed_argument, result));
    views.emplace_back(std::move(list));
  }
  return views;
}

}  // namespace torch_remote::client
