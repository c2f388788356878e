// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What the client has found out about an operator: how its arguments go into a plan, and how the
// metadata of its results is had. One record an operator, made when it is first registered.
#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/client/shape_rules.h"

namespace torch_remote::client {

// How an argument travels, by its type in the schema.
enum class ArgumentClass : std::uint8_t {
  kTensor,
  kTensorList,
  kNumber,      // Scalar or float: the value goes into the call, unless it decides about metadata
  kNumberList,  // Scalar[]
  kFixed,       // integers, booleans, lists of them, strings: part of the plan
  kDevice,
  kGenerator,
  kUnsupported,  // a storage, a stream, ...
};

struct ArgumentTraits {
  ArgumentClass argument_class = ArgumentClass::kFixed;
  bool written = false;          // the schema says that the operator writes it
  bool number_is_fixed = false;  // a number that output metadata depends on
};

struct ReturnTraits {
  bool is_tensor = false;
  bool is_tensor_list = false;
  int written_argument = -1;  // the operator returns this argument
  int viewed_argument = -1;   // the operator returns a view of this argument
};

class OperatorRecord {
 public:
  explicit OperatorRecord(const c10::OperatorHandle& handle, std::uint32_t number);

  const c10::OperatorHandle& handle() const { return handle_; }
  std::uint32_t number() const { return number_; }
  const std::string& name() const { return handle_.operator_name().name; }
  const std::string& overload() const { return handle_.operator_name().overload_name; }
  std::string full_name() const;

  const std::vector<ArgumentTraits>& arguments() const { return arguments_; }
  const std::vector<ReturnTraits>& returns() const { return returns_; }

  bool is_view() const { return is_view_; }  // results alias an argument: no command at all
  bool describes_outputs() const { return describes_outputs_; }
  // Whether a result is none of the arguments.
  bool makes_something() const;
  // Whether a list of tensors is written: PyTorch leaves their version counters to the kernel.
  bool writes_lists() const { return writes_lists_; }
  bool needs_no_inference() const { return needs_no_inference_; }
  bool uploads_indices() const {
    return uploads_indices_;
  }  // CPU index tensors are taken, as on CUDA
  // For an out= overload whose results' sizes nothing here can tell: the overload that makes its
  // results. Null for all others.
  const c10::OperatorHandle* functional() const { return functional_ ? &*functional_ : nullptr; }
  // Likewise for an out= overload whose meta function is not PyTorch's in C++: those in Python make
  // every out contiguous, whatever the kernel does.
  const c10::OperatorHandle* teller_of_strides() const {
    return teller_of_strides_ ? &*teller_of_strides_ : nullptr;
  }
  ShapeRule shape_rule() const { return shape_rule_; }
  // For an out= overload whose meta function is wrong: the rule for the overload that makes its
  // results, whose arguments are the same but for the outs, which come last. Null for all others.
  ShapeRule rule_of_results() const { return rule_of_results_; }
  // Whether only the kernels know the strides of the results (learned_layouts.h).
  bool learns_layouts() const { return learns_layouts_; }
  const c10::KernelFunction* meta_function() const { return meta_function_; }

  std::uint64_t schema_hash() const;
  // The overload that makes the results of this out= overload; none where there is no such pair.
  std::optional<c10::OperatorHandle> find_functional() const;

 private:
  void read_arguments();
  void read_returns();
  void choose_inference();

  c10::OperatorHandle handle_;
  std::uint32_t number_;
  std::vector<ArgumentTraits> arguments_;
  std::vector<ReturnTraits> returns_;
  bool is_view_ = false;
  bool describes_outputs_ = false;
  bool writes_lists_ = false;
  bool needs_no_inference_ = false;
  bool uploads_indices_ = false;
  std::optional<c10::OperatorHandle> functional_;
  std::optional<c10::OperatorHandle> teller_of_strides_;
  ShapeRule shape_rule_ = nullptr;
  ShapeRule rule_of_results_ = nullptr;
  bool learns_layouts_ = false;
  const c10::KernelFunction* meta_function_ = nullptr;
};

// The record of an operator; made at the first call for it. Thread-safe; the reference stays valid.
OperatorRecord& operator_record(const c10::OperatorHandle& handle);

}  // namespace torch_remote::client
