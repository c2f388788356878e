// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/operator_record.h"

#include <ATen/core/function_schema.h>
#include <ATen/core/jit_type.h>
#include <algorithm>
#include <array>
#include <memory>
#include <sstream>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/client/learned_layouts.h"
#include "core/client/meta_functions.h"
#include "core/protocol/schema_hash.h"

namespace torch_remote::client {
namespace {

// Numbers that decide about the metadata of a result. Everything else of type Scalar or float may
// vary from call to call under one plan; python/tests/test_plans.py holds this list against op_db.
constexpr std::array<std::string_view, 5> kNumbersDecide = {
    "aten::arange",              // the number of elements
    "aten::range",               // likewise
    "aten::linalg_vector_norm",  // ord = 0 counts: another accumulation type
    "aten::_cudnn_rnn",          // dropout makes the reserve larger, and the workspace
    "aten::_cudnn_rnn_backward",
};

ArgumentClass class_of(const c10::TypePtr& type) {
  c10::TypePtr inner = type;
  if (const auto optional = inner->cast<c10::OptionalType>()) inner = optional->getElementType();
  switch (inner->kind()) {
    case c10::TypeKind::TensorType:
      return ArgumentClass::kTensor;
    case c10::TypeKind::NumberType:
    case c10::TypeKind::FloatType:
    case c10::TypeKind::ComplexType:
      return ArgumentClass::kNumber;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
    case c10::TypeKind::BoolType:
    case c10::TypeKind::SymBoolType:
    case c10::TypeKind::ScalarTypeType:
    case c10::TypeKind::LayoutType:
    case c10::TypeKind::MemoryFormatType:
    case c10::TypeKind::StringType:
      return ArgumentClass::kFixed;
    case c10::TypeKind::SymFloatType:
      return ArgumentClass::kNumber;
    case c10::TypeKind::DeviceObjType:
      return ArgumentClass::kDevice;
    case c10::TypeKind::GeneratorType:
      return ArgumentClass::kGenerator;
    case c10::TypeKind::ListType:
      break;
    default:
      return ArgumentClass::kUnsupported;
  }
  const ArgumentClass element = class_of(inner->expectRef<c10::ListType>().getElementType());
  switch (element) {
    case ArgumentClass::kTensor:
      return ArgumentClass::kTensorList;
    case ArgumentClass::kFixed:
      return ArgumentClass::kFixed;
    case ArgumentClass::kNumber:
      return ArgumentClass::kNumberList;
    default:
      return ArgumentClass::kUnsupported;
  }
}

// Their out= overloads have a meta function, which gives other sizes than the kernels, or is that
// of another overload (baddbmm.dtype_out).
constexpr std::array<std::string_view, 3> kMetaOfOutIsWrong = {
    "aten::native_batch_norm", "aten::_native_batch_norm_legit", "aten::baddbmm"};

// Their kernels make outs of another shape contiguous, whatever the strides of their results.
constexpr std::array<std::string_view, 4> kOutsAreContiguous = {"aten::_fft_c2c", "aten::_fft_c2r",
                                                                "aten::_fft_r2c", "aten::cholesky"};

bool is_out(const c10::Argument& argument) {
  return argument.kwarg_only() && argument.alias_info() != nullptr &&
         argument.alias_info()->isWrite();
}

// "bins_tensor_out" belongs to "bins_tensor", "dim_values" to "dim"; "out", "values" and geqrf's
// "a" to "".
std::string overload_of_results(const std::string& with_out, std::string_view ending) {
  std::string base = with_out.substr(0, with_out.size() - ending.size());
  if (base.ends_with('_')) base.pop_back();
  return base;
}

// Whether an overload takes the arguments of an out= overload but for the outs.
bool is_functional_of(const c10::FunctionSchema& functional, const c10::FunctionSchema& with_out) {
  const auto& arguments = functional.arguments();
  std::size_t count = 0;
  for (const c10::Argument& argument : with_out.arguments()) {
    if (is_out(argument)) continue;
    if (count >= arguments.size() || arguments[count].name() != argument.name() ||
        *arguments[count].type() != *argument.type())
      return false;
    ++count;
  }
  return count == arguments.size() && functional.returns().size() == with_out.returns().size();
}

bool is_index_operator(const std::string& name) {
  return name == "aten::index" || name == "aten::index_put_" || name == "aten::_index_put_impl_" ||
         name == "aten::_unsafe_index" || name == "aten::_unsafe_index_put";
}

}  // namespace

OperatorRecord::OperatorRecord(const c10::OperatorHandle& handle, std::uint32_t number)
    : handle_(handle), number_(number) {
  read_arguments();
  read_returns();
  uploads_indices_ = is_index_operator(name());
  choose_inference();
}

std::string OperatorRecord::full_name() const {
  return overload().empty() ? name() : name() + "." + overload();
}

std::uint64_t OperatorRecord::schema_hash() const {
  std::ostringstream text;
  text << handle_.schema();
  return protocol::schema_hash(text.str());
}

void OperatorRecord::read_arguments() {
  const bool numbers_decide = std::ranges::find(kNumbersDecide, name()) != kNumbersDecide.end();
  for (const c10::Argument& argument : handle_.schema().arguments()) {
    const c10::AliasInfo* alias = argument.alias_info();
    arguments_.push_back({.argument_class = class_of(argument.type()),
                          .written = alias != nullptr && alias->isWrite(),
                          .number_is_fixed = numbers_decide});
    const ArgumentTraits& traits = arguments_.back();
    writes_lists_ =
        writes_lists_ || (traits.written && traits.argument_class == ArgumentClass::kTensorList);
  }
}

void OperatorRecord::read_returns() {
  const auto& arguments = handle_.schema().arguments();
  for (const c10::Argument& result : handle_.schema().returns()) {
    ReturnTraits traits;
    const ArgumentClass result_class = class_of(result.type());
    traits.is_tensor = result_class == ArgumentClass::kTensor;
    traits.is_tensor_list = result_class == ArgumentClass::kTensorList;
    if (const c10::AliasInfo* alias = result.alias_info()) {
      const auto source = std::ranges::find_if(arguments, [&](const c10::Argument& argument) {
        return argument.alias_info() != nullptr &&
               argument.alias_info()->beforeSets() == alias->beforeSets();
      });
      const int index =
          source == arguments.end() ? -1 : static_cast<int>(source - arguments.begin());
      (alias->isWrite() ? traits.written_argument : traits.viewed_argument) = index;
      is_view_ = is_view_ || !alias->isWrite();
    }
    returns_.push_back(traits);
  }
}

std::optional<c10::OperatorHandle> OperatorRecord::find_functional() const {
  const auto& schema = handle_.schema();
  if (std::ranges::none_of(schema.arguments(), is_out)) return std::nullopt;
  const std::string& own = overload();
  for (const std::string_view ending : {"out", "values", "a"}) {
    if (!own.ends_with(ending)) continue;
    const std::string base = overload_of_results(own, ending);
    const auto found = c10::Dispatcher::singleton().findSchema({name(), base});
    if (found && is_functional_of(found->schema(), schema)) return found;
  }
  return std::nullopt;
}

bool OperatorRecord::makes_something() const {
  return std::ranges::any_of(
      returns_, [](const ReturnTraits& result) { return result.written_argument < 0; });
}

// From the cheapest to the dearest: no outputs to know; a rule of ours; PyTorch's C++ meta
// function; the dispatcher's meta kernel, which may be Python; asking the executor.
void OperatorRecord::choose_inference() {
  using c10::DispatchKey;
  const bool makes_something = this->makes_something();
  // A computed kernel would say nothing: Meta has a fallback, which raises.
  const bool has_meta =
      std::ranges::any_of(std::array{DispatchKey::Meta, DispatchKey::CompositeExplicitAutograd,
                                     DispatchKey::CompositeExplicitAutogradNonFunctional,
                                     DispatchKey::CompositeImplicitAutograd},
                          [&](DispatchKey key) { return handle_.hasKernelForDispatchKey(key); });
  const bool is_fused_update = returns_.empty() && (name().starts_with("aten::_foreach_") ||
                                                    name().starts_with("aten::_fused_"));
  shape_rule_ = find_shape_rule(name(), overload());
  meta_function_ = find_meta_function(full_name());
  needs_no_inference_ = !makes_something && (!has_meta || is_fused_update);
  const bool is_out_unknown = !has_meta || handle_.hasTag(at::Tag::dynamic_output_shape);
  learns_layouts_ = client::learns_layouts(full_name());
  if (overload().ends_with("out") &&
      std::ranges::find(kMetaOfOutIsWrong, name()) != kMetaOfOutIsWrong.end())
    rule_of_results_ = find_shape_rule(name(), overload_of_results(overload(), "out"));
  if (!makes_something && meta_function_ == nullptr && rule_of_results_ == nullptr) {
    const auto functional = find_functional();
    // One that PyTorch composes may itself be made of this overload.
    const bool is_whole =
        functional && functional->hasKernelForDispatchKey(DispatchKey::PrivateUse1);
    const bool is_contiguous =
        std::ranges::find(kOutsAreContiguous, name()) != kOutsAreContiguous.end();
    const bool is_learned = client::learns_layouts(name()) && !is_contiguous;
    if (is_whole && (is_out_unknown || is_learned)) {
      functional_ = functional;
    } else if (has_meta && !is_contiguous) {
      teller_of_strides_ = functional;
    }
  }
  if (shape_rule_ != nullptr || needs_no_inference_) return;
  const bool returns_values = std::ranges::any_of(returns_, [](const ReturnTraits& result) {
    return !result.is_tensor && !result.is_tensor_list;
  });
  const bool depends_on_values = (handle_.hasTag(at::Tag::dynamic_output_shape) ||
                                  handle_.hasTag(at::Tag::data_dependent_output)) &&
                                 meta_function_ == nullptr;
  describes_outputs_ = makes_something && (returns_values || depends_on_values || !has_meta);
}

namespace {

// Never destroyed, as operators may be called and libraries removed at the end of the program.
class Records {
 public:
  static Records& instance() {
    static auto* records = [] {
      auto* made = new Records;
      // Kept for ever: its end would be the listener's.
      new c10::RegistrationHandleRAII(
          c10::Dispatcher::singleton().addRegistrationListener(std::make_unique<Listener>(*made)));
      return made;
    }();
    return *records;
  }

  OperatorRecord& get(const c10::OperatorHandle& handle) {
    const std::lock_guard lock(mutex_);
    auto& record = by_name_[handle.operator_name()];
    if (!record) record = std::make_unique<OperatorRecord>(handle, next_number_++);
    return *record;
  }

 private:
  // A library that is removed takes its operators along; another may define the same name anew,
  // with another schema. References to the old record may still be in use.
  class Listener final : public c10::OpRegistrationListener {
   public:
    explicit Listener(Records& records) : records_(records) {}
    void onOperatorRegistered(const c10::OperatorHandle&) override {}
    void onOperatorDeregistered(const c10::OperatorHandle& handle) override {
      records_.retire(handle.operator_name());
    }

   private:
    Records& records_;
  };

  void retire(const c10::OperatorName& name) {
    const std::lock_guard lock(mutex_);
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return;
    retired_.push_back(std::move(found->second));
    by_name_.erase(found);
  }

  std::mutex mutex_;
  std::unordered_map<c10::OperatorName, std::unique_ptr<OperatorRecord>> by_name_;
  std::vector<std::unique_ptr<OperatorRecord>> retired_;
  std::uint32_t next_number_ = 0;
};

}  // namespace

OperatorRecord& operator_record(const c10::OperatorHandle& handle) {
  return Records::instance().get(handle);
}

}  // namespace torch_remote::client
