// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/call.h"

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <c10/util/StringUtil.h>
#include <c10/util/complex.h>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "core/executor/executor.h"
#include "core/executor/libtorch/outputs.h"

namespace torch_remote::executor::libtorch {

using c10::IValue;
using protocol::OutputKind;
using Fill = PlannedArgument::Fill;

// Reads a call's values in order. Their length was compared with the plan's, which is the sum of
// what is taken.
class Caller::Values {
 public:
  explicit Values(std::span<const std::byte> values) : next_(values.data()) {}

  template <typename T>
  T take() {
    T value;
    std::memcpy(&value, next_, sizeof(T));
    next_ += sizeof(T);
    return value;
  }
  const std::byte* take_bytes(std::size_t size_bytes) {
    return std::exchange(next_, next_ + size_bytes);
  }

 private:
  const std::byte* next_;
};

// Whatever happens, a call leaves nothing behind that holds a tensor.
class Caller::ClearAtEnd {
 public:
  explicit ClearAtEnd(Caller& caller) : caller_(caller) {}
  ClearAtEnd(const ClearAtEnd&) = delete;
  ClearAtEnd& operator=(const ClearAtEnd&) = delete;
  ~ClearAtEnd() {
    caller_.stack_.clear();
    caller_.resizable_.clear();
    caller_.sparse_.clear();
  }

 private:
  Caller& caller_;
};

void Caller::call(const DecodedPlan& plan, std::span<const std::byte> bytes) {
  const ClearAtEnd clear_at_end(*this);
  Values values(bytes);
  run(plan, values);
  // All results are looked at before the first one is stored, so that a failure stores none.
  for (std::size_t i = 0; i < plan.outputs.size(); ++i) {
    conform(stack_[i], plan.outputs[i], device_, plan.operator_name);
  }
  for (std::size_t i = 0; i < plan.outputs.size(); ++i) {
    store(plan.outputs[i], std::move(stack_[i]), values);
  }
}

std::vector<protocol::DescribedOutput> Caller::call_and_describe(const DecodedPlan& plan,
                                                                 TensorId first_output_id,
                                                                 std::span<const std::byte> bytes) {
  const ClearAtEnd clear_at_end(*this);
  Values values(bytes);
  run(plan, values);
  return describe_and_store(stack_, sparse_, first_output_id, device_, storages_);
}

void Caller::run(const DecodedPlan& plan, Values& values) {
  for (const PlannedArgument& argument : plan.arguments) {
    if (argument.fill == Fill::kTensor) {
      stack_.emplace_back(fill_tensor(argument, values));
    } else if (argument.fill == Fill::kFixed) {
      stack_.push_back(argument.fixed);
    } else {
      stack_.push_back(fill(argument, values));
    }
  }
  if (plan.runnable.substitute != nullptr) {
    plan.runnable.substitute(stack_, generators_.default_generator());
  } else if (plan.runnable.draws_from_default) {
    const DefaultGeneratorLoan loan(device_, generators_.default_generator());
    plan.runnable.run.callBoxed(stack_);
  } else if (plan.runnable.key) {
    plan.runnable.run.callBoxedForDispatchKey(*plan.runnable.key, stack_);
  } else {
    plan.runnable.run.callBoxed(stack_);
  }
  if (plan.has_resizable_arguments) check_resizable_arguments(plan);
  for (SparseArgument& argument : sparse_) argument.finish();
  TORCH_INTERNAL_ASSERT(plan.describes_outputs || stack_.size() == plan.outputs.size());
}

const at::Tensor& Caller::fill_tensor(const PlannedArgument& argument, Values& values) {
  const auto id = values.take<TensorId>();
  std::uint64_t offset = 0;
  if (argument.offset_size_bytes == 4) offset = values.take<std::uint32_t>();
  if (argument.offset_size_bytes == 8) offset = values.take<std::uint64_t>();
  const at::Tensor& tensor = storages_.tensor(id, offset, argument.tensor);
  if (argument.may_be_resized) resizable_.push_back({id, tensor, &argument.tensor});
  return tensor;
}

IValue Caller::fill(const PlannedArgument& argument, Values& values) {
  switch (argument.fill) {
    case Fill::kFixed:
      return argument.fixed;
    case Fill::kTensor:
      return fill_tensor(argument, values);
    case Fill::kHostScalar: {
      // Nobody else holds it: an operator that returns it has its result copied.
      const at::Tensor& scalar = argument.host_scalar;
      const std::size_t size_bytes = scalar.element_size();
      std::memcpy(scalar.mutable_data_ptr(), values.take_bytes(size_bytes > 8 ? 16 : 8),
                  size_bytes);
      return scalar;
    }
    case Fill::kInteger:
      return values.take<std::int64_t>();
    case Fill::kBoolean:
      return values.take<std::uint64_t>() != 0;
    case Fill::kDouble:
      return values.take<double>();
    case Fill::kComplex: {
      const auto real = values.take<double>();
      return c10::complex<double>(real, values.take<double>());
    }
    case Fill::kGenerator:
      return generators_.get(values.take<std::uint64_t>());
    case Fill::kSparseTensor:
      return fill_sparse_tensor(argument, values);
    case Fill::kTensorList:
      return fill_list<at::Tensor>(argument, values);
    case Fill::kOptionalTensorList:
      return fill_list<std::optional<at::Tensor>>(argument, values);
    case Fill::kNumberList:
      return fill_number_list(argument, values);
  }
  return {};
}

template <typename Element>
IValue Caller::fill_list(const PlannedArgument& argument, Values& values) {
  c10::List<Element> list;
  list.reserve(argument.elements.size());
  for (const PlannedArgument& element : argument.elements) {
    list.push_back(fill(element, values).template to<Element>());
  }
  return list;
}

at::Tensor Caller::fill_sparse_tensor(const PlannedArgument& argument, Values& values) {
  std::vector<at::Tensor> components;
  components.reserve(argument.elements.size());
  for (const PlannedArgument& component : argument.elements)
    components.push_back(fill_tensor(component, values));
  for (SparseArgument& earlier : sparse_) {
    if (!earlier.is_made_of(argument.sparse, components)) continue;
    if (argument.is_written) earlier.mark_written();
    return earlier.tensor();
  }
  return sparse_.emplace_back(argument.sparse, std::move(components), argument.is_written).tensor();
}

IValue Caller::fill_number_list(const PlannedArgument& argument, Values& values) {
  c10::List<IValue> list = argument.fixed.toList().copy();
  list.reserve(argument.elements.size());
  for (const PlannedArgument& element : argument.elements) list.push_back(fill(element, values));
  return list;
}

// An operator gives an out= argument of other sizes the sizes of its result. The client has made
// the same check, so this is a client that is wrong; the sizes here must not stay other than its.
void Caller::check_resizable_arguments(const DecodedPlan& plan) {
  for (const ResizableArgument& argument : resizable_) {
    if (argument.tensor.sizes() == argument.planned->sizes_ref()) continue;
    storages_.forget_tensors(argument.id);
    throw ExecutorError(
        protocol::ErrorKind::kRuntime,
        c10::str(plan.operator_name, ": the out tensor has sizes ", argument.planned->sizes_ref(),
                 ", the result has ", argument.tensor.sizes()));
  }
}

void Caller::store(const PlannedOutput& planned, IValue result, Values& values) {
  if (planned.kind == OutputKind::kFresh) {
    storages_.insert(values.take<TensorId>(), std::move(result).toTensor());
  } else if (planned.kind == OutputKind::kList) {
    std::vector<at::Tensor> tensors = result.toTensorVector();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (planned.elements[i].kind != OutputKind::kFresh) continue;
      storages_.insert(values.take<TensorId>(), std::move(tensors[i]));
    }
  }
}

}  // namespace torch_remote::executor::libtorch
