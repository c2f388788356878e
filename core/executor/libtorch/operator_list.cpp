// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/operator_list.h"

#include <ATen/core/enum_tag.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/jit_type.h>
#include <algorithm>
#include <array>
#include <c10/core/TensorOptions.h>
#include <torch/version.h>

#include "core/executor/executor.h"
#include "core/executor/libtorch/random_source.h"
#include "core/protocol/schema_hash.h"

namespace torch_remote::executor::libtorch {
namespace {

using c10::FunctionSchema;
using c10::OperatorHandle;
using c10::TypeKind;

// Names of aten that begin like this. Beside files and test helpers: operators that take an address
// out of a tensor's bytes (fbgemm's packed weights), that believe indices without a check, that
// make sparse tensors of parts that nobody has checked, which clients do themselves, and families
// whose tensors can't travel anyway.
constexpr std::array<std::string_view, 34> kDeniedBeginnings = {
    "from_file",
    "_test_",
    "_print",
    "resize",
    "_resize_output",
    "set_",
    "record_stream",
    "_pin_memory",
    "pin_memory",
    "is_pinned",
    "fbgemm_",
    "_wrapped_",
    "quantized_",
    "_nested_",
    "sparse_resize_",
    "sparse_coo_tensor",
    "sparse_compressed_tensor",
    "sparse_csr_tensor",
    "sparse_csc_tensor",
    "sparse_bsr_tensor",
    "sparse_bsc_tensor",
    "_sparse_coo_tensor",
    "_sparse_compressed_tensor",
    "_sparse_csr_tensor",
    "_sparse_csc_tensor",
    "_sparse_bsr_tensor",
    "_sparse_bsc_tensor",
    "_sparse_semi_structured",
    "_reshape_alias",
    "_convert_indices_from_",
    "_cudnn",
    "cudnn_",
    "miopen_",
    "_use_cudnn",
};

[[noreturn]] void refuse(const std::string& message) {
  throw ExecutorError(protocol::ErrorKind::kUnknownOperator, message);
}

// ---- rules ----

bool is_fillable(const c10::Type& type) {
  switch (type.kind()) {
    case TypeKind::OptionalType:
      return is_fillable(*type.castRaw<c10::OptionalType>()->getElementType());
    case TypeKind::ListType: {
      const c10::Type& element = *type.castRaw<c10::ListType>()->getElementType();
      return element.kind() != TypeKind::StringType && element.kind() != TypeKind::ListType &&
             is_fillable(element);
    }
    case TypeKind::TensorType:
    case TypeKind::IntType:
    case TypeKind::SymIntType:
    case TypeKind::FloatType:
    case TypeKind::BoolType:
    case TypeKind::ComplexType:
    case TypeKind::NumberType:
    case TypeKind::StringType:
    case TypeKind::DeviceObjType:
    case TypeKind::GeneratorType:
      return true;
    default:
      return false;
  }
}

bool is_generator(const c10::Argument& argument) {
  const c10::Type* type = argument.type().get();
  if (const auto* optional = type->castRaw<c10::OptionalType>())
    type = optional->getElementType().get();
  return type->kind() == TypeKind::GeneratorType;
}

bool returns_view(const FunctionSchema& schema) {
  return std::ranges::any_of(schema.returns(), [](const c10::Argument& result) {
    return result.alias_info() != nullptr && !result.alias_info()->isWrite();
  });
}

// Why the operator may not run; empty if it may.
std::string denial(const OperatorHandle& handle, std::string_view space, std::string_view base) {
  const FunctionSchema& schema = handle.schema();
  for (const c10::Argument& argument : schema.arguments()) {
    if (!is_fillable(*argument.type())) {
      return "its argument " + argument.name() + " of type " + argument.type()->str() +
             " can't travel";
    }
  }
  if (handle.hasTag(at::Tag::inplace_view))
    return "it changes a tensor's sizes or strides, which clients keep";
  if (returns_view(schema)) return "it makes a view, which clients make themselves";
  const auto begins_name = [&](std::string_view beginning) { return base.starts_with(beginning); };
  if (space == "aten" && std::ranges::any_of(kDeniedBeginnings, begins_name))
    return "it is on the list of denied ones";
  return {};
}

// Some operators have kernels for sparse tensors alone.
bool has_kernel(const OperatorHandle& handle, c10::Device device) {
  const auto layouts = {c10::Layout::Strided, c10::Layout::Sparse, c10::Layout::SparseCsr};
  return std::ranges::any_of(layouts, [&](c10::Layout layout) {
    return handle.hasComputedKernelForDispatchKey(
        c10::computeDispatchKey(std::nullopt, layout, device));
  });
}

// ---- generators ----

bool takes_generator(const OperatorHandle& handle) {
  return std::ranges::any_of(handle.schema().arguments(), is_generator);
}

bool draws_without_generator(const OperatorHandle& handle) {
  if (!handle.hasTag(at::Tag::nondeterministic_seeded)) return false;
  // Tagged for their dropout_p, which the CPU's kernels refuse or only look at.
  for (const char* name :
       {"aten::_fused_sdp_choice", "aten::_scaled_dot_product_flash_attention_for_cpu"}) {
    if (handle.operator_name().name == name) return false;
  }
  return !takes_generator(handle);
}

// The position of the one generator that `with` takes and `without` doesn't, if they agree
// otherwise.
std::optional<std::size_t> added_generator_position(const FunctionSchema& without,
                                                    const FunctionSchema& with) {
  if (with.arguments().size() != without.arguments().size() + 1) return std::nullopt;
  const auto generator = std::ranges::find_if(with.arguments(), is_generator);
  if (generator == with.arguments().end()) return std::nullopt;
  const auto position = static_cast<std::size_t>(generator - with.arguments().begin());
  for (std::size_t i = 0; i < without.arguments().size(); ++i) {
    const c10::Argument& other = with.arguments()[i < position ? i : i + 1];
    if (other.name() != without.arguments()[i].name() ||
        *other.type() != *without.arguments()[i].type()) {
      return std::nullopt;
    }
  }
  return position;
}

// rand has an overload rand.generator, and so on: it is run instead, with the session's generator.
bool redirect_to_overload_with_generator(RunnableOperator& found) {
  constexpr std::array<const char*, 8> kOverloads = {
      "generator",           "low_generator",           "generator_out",    "low_generator_out",
      "low_generator_dtype", "low_generator_dtype_out", "Tensor_generator", "Tensor_generator_out"};
  for (const char* overload : kOverloads) {
    const auto other =
        c10::Dispatcher::singleton().findSchema({found.named.operator_name().name, overload});
    if (!other) continue;
    const auto position = added_generator_position(found.named.schema(), other->schema());
    if (!position) continue;
    found.run = *other;
    found.inserted_generator_position = position;
    return true;
  }
  return false;
}

// An operator that is composed of others finds their kernels by the generator that it hands on.
void take_kernel_of(const RandomSource& source, RunnableOperator& found) {
  if (!takes_generator(found.run)) return;
  if (found.run.hasKernelForDispatchKey(source.key())) {
    found.key = source.key();
  } else if (!found.run.hasComputedKernelForDispatchKey(source.key())) {
    refuse("the executor does not run " + found.name() + ": it has no kernel that draws the " +
           "random numbers of " + source.description());
  }
}

}  // namespace

std::string RunnableOperator::name() const { return c10::toString(named.operator_name()); }

RunnableOperator find_operator(std::string_view name, std::string_view overload,
                               std::uint64_t schema_hash, c10::Device device,
                               const LibtorchOptions& options) {
  const c10::OperatorName operator_name{std::string(name), std::string(overload)};
  const std::string shown = c10::toString(operator_name);
  const std::size_t colons = name.find("::");
  const std::string_view space = name.substr(0, colons);
  const bool is_allowed =
      space == "aten" || options.runs_every_operator || options.more_operators.contains(shown);
  const auto handle = is_allowed && colons != std::string_view::npos
                          ? c10::Dispatcher::singleton().findSchema(operator_name)
                          : std::nullopt;
  if (!handle) {
    refuse("the executor (torch " TORCH_VERSION ") has no operator " + shown +
           (space == "aten" ? ""
                            : ": start it with the library that has it, torch-remote-executor "
                              "--load-library FILE"));
  }
  if (protocol::schema_hash(c10::toString(handle->schema())) != schema_hash) {
    refuse("the client's torch and the executor's (torch " TORCH_VERSION ") differ in operator " +
           shown + ": here it is " + c10::toString(handle->schema()));
  }

  RunnableOperator found{.named = *handle,
                         .run = *handle,
                         .substitute = find_substitute(shown, device),
                         .inserted_generator_position = std::nullopt};
  const RandomSource* source = options.random_source.get();
  if (const auto drawing = source != nullptr ? source->substitute(shown) : nullptr)
    found.substitute = drawing;
  if (found.substitute != nullptr) return found;
  const std::string reason = denial(*handle, space, name.substr(colons + 2));
  if (!reason.empty()) refuse("the executor does not run " + shown + ": " + reason);
  if (!has_kernel(*handle, device)) {
    refuse("the executor (torch " TORCH_VERSION ") has no kernel of operator " + shown + " for " +
           device.str() + ", the device that it computes on");
  }
  if (draws_without_generator(*handle) && !redirect_to_overload_with_generator(found)) {
    // A CPU's default generator is the whole process's; an accelerator's is only ours.
    if (device.is_cpu()) {
      refuse("the executor does not run " + shown +
             ": it draws random numbers from no generator of the session's");
    }
    found.draws_from_default = true;
  }
  if (source != nullptr) take_kernel_of(*source, found);
  return found;
}

}  // namespace torch_remote::executor::libtorch
