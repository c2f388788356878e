// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The libtorch executor for tests: plans made by hand, as a client's arrive, and their calls.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/executor/libtorch/libtorch_executor.h"
#include "core/protocol/bytes.h"
#include "core/protocol/plan.h"
#include "core/protocol/replies.h"
#include "core/protocol/schema_hash.h"

namespace torch_remote::executor {

using protocol::Access;
using protocol::Argument;
using protocol::ArgumentKind;
using protocol::DescribedOutput;
using protocol::ErrorKind;
using protocol::Output;
using protocol::OutputKind;
using protocol::ProtocolError;
using protocol::TensorLayout;
using Floats = std::vector<float>;
using Integers = std::vector<std::int64_t>;

inline constexpr protocol::DataType kInt64 = 4, kFloat = 6, kComplex64 = 9, kBool = 11;

inline TensorLayout layout(Integers sizes, protocol::DataType dtype = kFloat) {
  TensorLayout made{.dtype = dtype, .sizes = std::move(sizes)};
  made.strides.assign(made.sizes.size(), 1);
  for (std::size_t i = made.sizes.size(); i-- > 1;) {
    made.strides[i - 1] = made.strides[i] * std::max<std::int64_t>(made.sizes[i], 1);
  }
  return made;
}

inline Argument tensor(TensorLayout of, std::uint8_t offset_size_bytes = 0) {
  return {.kind = ArgumentKind::kTensor,
          .offset_size_bytes = offset_size_bytes,
          .layout = std::move(of)};
}
inline Argument written(TensorLayout of) {
  return {.kind = ArgumentKind::kTensor, .access = Access::kWrite, .layout = std::move(of)};
}
inline Argument integer(std::int64_t value) {
  return {.kind = ArgumentKind::kInteger, .integer = value};
}
inline Argument boolean(bool value) { return {.kind = ArgumentKind::kBoolean, .flag = value}; }
inline Argument number(double value) { return {.kind = ArgumentKind::kDouble, .number = value}; }
inline Argument integers(Integers values) {
  return {.kind = ArgumentKind::kIntegerList, .integers = std::move(values)};
}
inline Argument none() { return {}; }
inline Argument undefined() { return {.kind = ArgumentKind::kUndefinedTensor}; }
inline Argument of_kind(ArgumentKind kind) { return {.kind = kind}; }
inline Argument list(ArgumentKind kind, std::vector<Argument> elements) {
  return {.kind = kind, .elements = std::move(elements)};
}
inline Output fresh(TensorLayout of) {
  return {.kind = OutputKind::kFresh, .layout = std::move(of)};
}
inline Output nothing() { return {.kind = OutputKind::kUndefined}; }
inline Output argument() { return {.kind = OutputKind::kArgument}; }
inline Output list(std::vector<Output> elements) {
  return {.kind = OutputKind::kList, .elements = std::move(elements)};
}

class Values {
 public:
  template <typename... Fields>
  explicit Values(Fields... fields) {
    (writer_.put(fields), ...);
  }
  operator std::span<const std::byte>() const {
    return writer_.bytes();
  }  // NOLINT: a call's argument

 private:
  protocol::ByteWriter writer_;
};

inline std::uint64_t id(std::uint64_t value) { return value << 9; }

inline std::uint64_t hash_here(const char* name, const char* overload) {
  const auto handle = c10::Dispatcher::singleton().findSchema({name, overload});
  return handle ? protocol::schema_hash(c10::toString(handle->schema())) : 0;
}

template <typename Action>
void expect_failure(ErrorKind kind, const std::string& part_of_message, Action action) {
  try {
    action();
    ADD_FAILURE() << "no failure";
  } catch (const ExecutorError& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part_of_message), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("frame #"), std::string::npos)
        << "backtrace: " << error.what();
  }
}

class LibtorchExecutorTest : public testing::Test {
 protected:
  LibtorchExecutorTest() : LibtorchExecutorTest(libtorch_executor_factory()(protocol::Hello{})) {}
  explicit LibtorchExecutorTest(std::unique_ptr<Executor> tested) : executor(std::move(tested)) {}

  void define(const char* name, const char* overload, std::vector<Argument> arguments,
              std::vector<Output> outputs, std::uint32_t plan = 0) {
    executor->define_operator(plan, hash_here(name, overload), name, overload);
    executor->define_plan({.plan = plan,
                           .operator_number = plan,
                           .arguments = std::move(arguments),
                           .outputs = std::move(outputs)});
  }
  std::vector<DescribedOutput> describe(const char* name, const char* overload,
                                        std::vector<Argument> arguments, std::uint64_t first_id,
                                        const Values& values) {
    executor->define_operator(0, hash_here(name, overload), name, overload);
    executor->define_plan({.describes_outputs = true, .arguments = std::move(arguments)});
    return executor->call_and_describe(0, first_id, values);
  }
  template <typename T>
  void store(std::uint64_t tensor_id, const std::vector<T>& values) {
    executor->allocate(tensor_id, values.size() * sizeof(T));
    executor->write(tensor_id, 0, std::as_bytes(std::span(values)));
  }
  template <typename T>
  std::vector<T> load(std::uint64_t tensor_id, std::size_t count) {
    std::vector<T> values(count);
    executor->read(tensor_id, 0, std::as_writable_bytes(std::span(values)));
    return values;
  }
  Floats floats(std::uint64_t tensor_id, std::size_t count) {
    return load<float>(tensor_id, count);
  }
  std::uint64_t store(std::uint64_t tensor_id, const at::Tensor& values) {
    store(tensor_id,
          Floats(values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel()));
    return tensor_id;
  }
  bool holds(std::uint64_t tensor_id, const at::Tensor& expected) {
    const at::Tensor contiguous = expected.contiguous();
    const Floats values = floats(tensor_id, static_cast<std::size_t>(expected.numel()));
    return std::memcmp(values.data(), contiguous.const_data_ptr<float>(),
                       values.size() * sizeof(float)) == 0;
  }
  bool exists(std::uint64_t tensor_id) {
    try {
      executor->read(tensor_id, 0, {});
      return true;
    } catch (const ExecutorError&) {
      return false;
    }
  }

  std::unique_ptr<Executor> executor;
};

}  // namespace torch_remote::executor
