// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// An executor whose storages are byte vectors and whose operators do little but do it for real:
// what tests of the session, the protocol and the server run against, without torch.
//
//   test::copy       (tensor read) -> fresh             the source's bytes
//   test::add_bytes  (tensor written, varying integer)  adds to every byte
//   test::fail       (tensor written, integer, string)  fails with that ErrorKind and message
//   test::describe   (tensor read) -> described         as many first bytes as the first byte says,
//                                                       and that number
#pragma once

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/executor/in_order_executor.h"
#include "core/protocol/bytes.h"

namespace torch_remote::executor {

struct ByteExecutorOptions {
  protocol::Limits limits{};
  std::function<void()> before_call{};  // on the session's thread; may wait
  std::function<void()> at_end{};       // when the session's executor is destroyed
  std::shared_ptr<std::atomic<std::size_t>> storage_count{};  // of all sessions together
  std::uint32_t device_count = 1;
  std::shared_ptr<std::vector<std::uint32_t>> streams{};  // in the order of their use
};

class ByteExecutor : public InOrderExecutor {
 public:
  explicit ByteExecutor(ByteExecutorOptions options) : options_(std::move(options)) {}
  ~ByteExecutor() override {
    count(-static_cast<std::ptrdiff_t>(storages_.size()));
    if (options_.at_end) options_.at_end();
  }

  std::map<std::string, std::string> describe() const override {
    return {{"executor", "bytes"}, {"device", "test"}};
  }
  protocol::Limits limits() const override { return options_.limits; }
  std::uint32_t device_count() const override { return options_.device_count; }
  void use_stream(std::uint32_t stream) override {
    if (options_.streams) options_.streams->push_back(stream);
  }
  protocol::Numbers memory_statistics() override {
    return {{"storages", static_cast<std::int64_t>(storages_.size())}};
  }

  void define_operator(std::uint32_t number, std::uint64_t schema_hash, std::string_view name,
                       std::string_view overload) override {
    const bool known = name == "test::copy" || name == "test::add_bytes" || name == "test::fail" ||
                       name == "test::describe";
    if (!known || !overload.empty() || schema_hash != 0) {
      throw ExecutorError(protocol::ErrorKind::kUnknownOperator, "no such operator here");
    }
    operators_[number] = name;
  }
  void define_plan(const protocol::PlanDefinition& definition) override {
    plans_[definition.plan] = definition;
  }

  void call(std::uint32_t plan, std::span<const std::byte> values) override {
    if (options_.before_call) options_.before_call();
    const Call call = decode(plans_.at(plan), values);
    if (call.name == "test::copy") {
      make(call.outputs.at(0), call.tensors.at(0).bytes.size());
      std::ranges::copy(call.tensors[0].bytes, storages_[call.outputs[0]].begin());
    } else if (call.name == "test::add_bytes") {
      for (std::byte& byte : call.tensors.at(0).bytes) {
        byte = static_cast<std::byte>(std::to_integer<int>(byte) + call.integers.at(0));
      }
    } else {
      throw ExecutorError(static_cast<protocol::ErrorKind>(call.integers.at(0)), call.text);
    }
  }

  std::vector<protocol::DescribedOutput> call_and_describe(
      std::uint32_t plan, TensorId first_output_id, std::span<const std::byte> values) override {
    using Kind = protocol::DescribedOutput::Kind;
    const Call call = decode(plans_.at(plan), values);
    const auto source = call.tensors.at(0).bytes;
    const auto size = std::to_integer<std::uint64_t>(source[0]);
    if (size > source.size()) {
      throw ExecutorError(protocol::ErrorKind::kValue, "there are not so many bytes");
    }
    make(first_output_id, size);
    std::ranges::copy(source.first(size), storages_[first_output_id].begin());
    const auto length = static_cast<std::int64_t>(size);
    return {{.kind = Kind::kTensor,
             .layout = {.sizes = {length}, .strides = {1}},
             .storage_size_bytes = size},
            {.kind = Kind::kInteger, .integer = length}};
  }

  void allocate(TensorId id, std::uint64_t size_bytes) override { make(id, size_bytes); }
  void free(TensorId id) noexcept override {
    count(-static_cast<std::ptrdiff_t>(storages_.erase(id)));
  }
  void write(TensorId id, std::uint64_t offset_bytes, std::span<const std::byte> bytes) override {
    std::ranges::copy(bytes, range(id, offset_bytes, bytes.size()).begin());
  }
  void read(TensorId id, std::uint64_t offset_bytes, std::span<std::byte> destination) override {
    std::ranges::copy(range(id, offset_bytes, destination.size()), destination.begin());
  }
  void resize(TensorId id, TensorId new_id, std::uint64_t size_bytes) override {
    rename(id, new_id);
    storages_.at(new_id).resize(size_bytes);
  }
  void rename(TensorId id, TensorId new_id) override {
    range(id, 0, 0);
    auto node = storages_.extract(id);
    node.key() = new_id;
    storages_.insert(std::move(node));
  }

  // A generator's state is its seed.
  void seed(std::uint64_t generator, std::uint64_t seed) override { seeds_[generator] = seed; }
  std::vector<std::byte> generator_state(std::uint64_t generator) override {
    std::vector<std::byte> state(sizeof(std::uint64_t));
    std::memcpy(state.data(), &seeds_[generator], state.size());
    return state;
  }
  void set_generator_state(std::uint64_t generator, std::span<const std::byte> state) override {
    if (state.size() != sizeof(std::uint64_t)) {
      throw ExecutorError(protocol::ErrorKind::kValue, "a state has eight bytes");
    }
    std::memcpy(&seeds_[generator], state.data(), state.size());
  }
  void synchronize() override {}

 private:
  struct Operand {
    std::span<std::byte> bytes;
  };
  struct Call {
    std::string name;
    std::vector<Operand> tensors{};
    std::vector<std::int64_t> integers{};
    std::string text{};
    std::vector<TensorId> outputs{};
  };

  void count(std::ptrdiff_t change) noexcept {
    if (options_.storage_count) {
      options_.storage_count->fetch_add(static_cast<std::size_t>(change));
    }
  }
  void make(TensorId id, std::uint64_t size_bytes) {
    if (!storages_.emplace(id, size_bytes).second) throw std::logic_error("the id is taken");
    count(1);
  }
  std::span<std::byte> range(TensorId id, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
    const auto found = storages_.find(id);
    if (found == storages_.end()) {
      throw ExecutorError(protocol::ErrorKind::kRuntime, "there is no storage of this id");
    }
    if (offset_bytes > found->second.size() || size_bytes > found->second.size() - offset_bytes) {
      throw ExecutorError(protocol::ErrorKind::kIndex, "the range is beyond the storage");
    }
    return std::span(found->second).subspan(offset_bytes, size_bytes);
  }

  // Of the kinds of arguments, those that the operators above need.
  Call decode(const protocol::PlanDefinition& plan, std::span<const std::byte> values) {
    using Kind = protocol::ArgumentKind;
    Call call{.name = operators_.at(plan.operator_number)};
    protocol::ByteReader reader(values);
    for (const protocol::Argument& argument : plan.arguments) {
      if (argument.kind == Kind::kTensor) {
        const auto id = reader.get<TensorId>();
        call.tensors.push_back({range(id, 0, extent_size_bytes(argument.layout))});
      } else if (argument.kind == Kind::kVaryingInteger) {
        call.integers.push_back(reader.get<std::int64_t>());
      } else if (argument.kind == Kind::kInteger) {
        call.integers.push_back(argument.integer);
      } else {
        call.text = argument.text;
      }
    }
    for (std::size_t i = 0; i < plan.outputs.size(); ++i) {
      call.outputs.push_back(reader.get<TensorId>());
    }
    return call;
  }

  ByteExecutorOptions options_;
  std::unordered_map<std::uint32_t, std::string> operators_;
  std::unordered_map<std::uint32_t, protocol::PlanDefinition> plans_;
  std::unordered_map<TensorId, std::vector<std::byte>> storages_;
  std::unordered_map<std::uint64_t, std::uint64_t> seeds_;
};

inline ExecutorFactory byte_executor_factory(ByteExecutorOptions options = {}) {
  return [options](const protocol::Hello&) { return std::make_unique<ByteExecutor>(options); };
}

}  // namespace torch_remote::executor
