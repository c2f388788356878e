// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// One of everything that travels: a plan with every kind of argument, every command, every reply;
// and handlers that write down what they are given.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/protocol/commands.h"
#include "core/protocol/plan.h"
#include "core/protocol/replies.h"

namespace torch_remote::protocol {

inline TensorLayout sample_layout() {
  return {.dtype = 6, .flags = 0, .sizes = {2, 3}, .strides = {3, 1}};
}

// add.Tensor(x, y, alpha=1.0) -> fresh: the plan of docs/PROTOCOL.md's worked example.
inline PlanDefinition sample_plan() {
  const Argument tensor{.kind = ArgumentKind::kTensor, .layout = sample_layout()};
  const Argument alpha{.kind = ArgumentKind::kDouble, .number = 1.0};
  return {.plan = 5,
          .operator_number = 2,
          .arguments = {tensor, tensor, alpha},
          .outputs = {{.kind = OutputKind::kFresh, .layout = sample_layout()}}};
}

// Every kind of argument and output once at least.
inline PlanDefinition sample_plan_of_every_kind() {
  using Kind = ArgumentKind;
  const Argument read{.kind = Kind::kTensor, .offset_size_bytes = 4, .layout = sample_layout()};
  const Argument written{.kind = Kind::kTensor,
                         .access = Access::kWrite,
                         .offset_size_bytes = 8,
                         .layout = {.dtype = 9, .flags = 3, .sizes = {}, .strides = {}}};
  const Argument integer{.kind = Kind::kInteger, .integer = -7};
  const Argument varying{.kind = Kind::kVaryingInteger};
  const Output fresh{.kind = OutputKind::kFresh, .layout = sample_layout()};
  PlanDefinition plan{.plan = 77, .operator_number = 3};
  plan.arguments = {
      {.kind = Kind::kNone},
      read,
      written,
      {.kind = Kind::kUndefinedTensor},
      {.kind = Kind::kTensorList,
       .elements = {read, {.kind = Kind::kNone}, {.kind = Kind::kUndefinedTensor}, written}},
      {.kind = Kind::kHostScalar, .flag = true, .layout = {.dtype = 7}},
      {.kind = Kind::kHostScalar, .layout = {.dtype = 10}},
      integer,
      {.kind = Kind::kBoolean, .flag = true},
      {.kind = Kind::kDouble, .number = -0.5},
      {.kind = Kind::kComplex, .number = {1.5, -2.5}},
      varying,
      {.kind = Kind::kVaryingBoolean},
      {.kind = Kind::kVaryingDouble},
      {.kind = Kind::kVaryingComplex},
      {.kind = Kind::kNumberList, .elements = {integer, varying}},
      {.kind = Kind::kIntegerList, .integers = {1, -1}},
      {.kind = Kind::kDoubleList, .doubles = {0.25}},
      {.kind = Kind::kBooleanList, .integers = {0, 1, 1}},
      {.kind = Kind::kString, .text = "mean"},
      {.kind = Kind::kDevice, .flag = true},
      {.kind = Kind::kGenerator},
  };
  plan.outputs = {
      fresh,
      {.kind = OutputKind::kArgument},
      {.kind = OutputKind::kUndefined},
      {.kind = OutputKind::kList, .elements = {fresh, {.kind = OutputKind::kUndefined}}}};
  return plan;
}

inline SparseLayout sample_coo() {
  return {.kind = SparseKind::kCoo, .is_coalesced = true, .sparse_dimensions = 1, .sizes = {4, 3}};
}
inline SparseLayout sample_bsr() {
  return {.kind = SparseKind::kBsr, .sparse_dimensions = 2, .sizes = {2, 3}};
}

// A sparse tensor in COO that is written, one in BSR that is read, and one within a list.
inline PlanDefinition sample_plan_of_sparse_tensors() {
  using Kind = ArgumentKind;
  const Argument indices{.kind = Kind::kTensor,
                         .access = Access::kWrite,
                         .layout = {.dtype = 4, .sizes = {1, 2}, .strides = {2, 1}}};
  const Argument values{.kind = Kind::kTensor, .access = Access::kWrite, .layout = sample_layout()};
  const Argument compressed{.kind = Kind::kTensor,
                            .layout = {.dtype = 4, .sizes = {3}, .strides = {1}}};
  const Argument plain{.kind = Kind::kTensor, .layout = {.dtype = 4, .sizes = {2}, .strides = {1}}};
  const Argument blocks{.kind = Kind::kTensor,
                        .offset_size_bytes = 4,
                        .layout = {.dtype = 6, .sizes = {2, 1, 3}, .strides = {3, 3, 1}}};
  const Argument coo{
      .kind = Kind::kSparseTensor, .sparse = sample_coo(), .elements = {indices, values}};
  const Argument bsr{
      .kind = Kind::kSparseTensor, .sparse = sample_bsr(), .elements = {compressed, plain, blocks}};
  return {.plan = 78,
          .operator_number = 4,
          .describes_outputs = true,
          .arguments = {coo, bsr, {.kind = Kind::kTensorList, .elements = {bsr, coo}}}};
}

inline const std::byte kSampleValues[24] = {std::byte{0x11}, std::byte{0x22}, std::byte{0x33}};
inline constexpr TensorId kSampleId = 0x4080000000000200;

inline std::vector<DescribedOutput> sample_outputs() {
  using Kind = DescribedOutput::Kind;
  return {{.kind = Kind::kTensor, .layout = sample_layout(), .storage_size_bytes = 24},
          {.kind = Kind::kUndefined},
          {.kind = Kind::kListBegin},
          {.kind = Kind::kInteger, .integer = -3},
          {.kind = Kind::kBoolean, .integer = 1},
          {.kind = Kind::kListEnd},
          {.kind = Kind::kDouble, .number = 2.5}};
}

// A written argument of which only the values are new, and a list with a sparse tensor.
inline std::vector<DescribedOutput> sample_sparse_outputs() {
  using Kind = DescribedOutput::Kind;
  const DescribedOutput tensor{
      .kind = Kind::kTensor, .layout = sample_layout(), .storage_size_bytes = 24};
  return {{.kind = Kind::kSparseTensor, .sparse = sample_coo()},
          {.kind = Kind::kKeptComponent},
          tensor,
          {.kind = Kind::kListBegin},
          {.kind = Kind::kSparseTensor, .sparse = sample_bsr()},
          tensor,
          tensor,
          tensor,
          {.kind = Kind::kListEnd}};
}

inline Failure sample_failure() {
  return {.operation = 42,
          .kind = ErrorKind::kIndex,
          .operator_name = "aten::index_select",
          .message = "index out of range"};
}

// A line of text for each command, with everything that was given.
class CommandRecorder final : public CommandHandler {
 public:
  std::vector<std::string> lines;
  std::vector<PlanDefinition> plans;

  void define_operator(std::uint32_t number, std::uint64_t schema_hash, std::string_view name,
                       std::string_view overload) override {
    add("define_operator", number, schema_hash, name, overload);
  }
  void define_plan(PlanDefinition definition) override {
    add("define_plan", definition.plan);
    plans.push_back(std::move(definition));
  }
  void call(std::uint32_t plan, std::span<const std::byte> values) override {
    add("call", plan, values);
  }
  void call_and_describe(std::uint32_t plan, Token token, TensorId first_output_id,
                         std::span<const std::byte> values) override {
    add("call_and_describe", plan, token, first_output_id, values);
  }
  void allocate(TensorId id, std::uint64_t size_bytes) override { add("allocate", id, size_bytes); }
  void free(TensorId id) override { add("free", id); }
  void write(TensorId id, std::uint64_t offset_bytes, std::span<const std::byte> bytes) override {
    add("write", id, offset_bytes, bytes);
  }
  void write_frames(TensorId id, std::uint64_t offset_bytes, std::uint64_t size_bytes,
                    std::uint32_t frames) override {
    add("write_frames", id, offset_bytes, size_bytes, frames);
  }
  void read(Token token, TensorId id, std::uint64_t offset_bytes,
            std::uint64_t size_bytes) override {
    add("read", token, id, offset_bytes, size_bytes);
  }
  void resize(TensorId id, TensorId new_id, std::uint64_t size_bytes) override {
    add("resize", id, new_id, size_bytes);
  }
  void rename(TensorId id, TensorId new_id) override { add("rename", id, new_id); }
  void seed(std::uint64_t generator, std::uint64_t seed) override { add("seed", generator, seed); }
  void get_generator_state(Token token, std::uint64_t generator) override {
    add("get_generator_state", token, generator);
  }
  void set_generator_state(std::uint64_t generator, std::span<const std::byte> state) override {
    add("set_generator_state", generator, state);
  }
  void synchronize(Token token) override { add("synchronize", token); }
  void use_stream(std::uint32_t stream) override { add("use_stream", stream); }
  void record_event(EventId event, bool with_time) override {
    add("record_event", event, with_time);
  }
  void wait_event(EventId event) override { add("wait_event", event); }
  void free_event(EventId event) override { add("free_event", event); }
  void query_event(Token token, EventId event) override { add("query_event", token, event); }
  void synchronize_event(Token token, EventId event) override {
    add("synchronize_event", token, event);
  }
  void elapsed_time(Token token, EventId start, EventId end) override {
    add("elapsed_time", token, start, end);
  }
  void record_stream(TensorId id, std::uint32_t stream) override {
    add("record_stream", id, stream);
  }
  void get_memory_statistics(Token token) override { add("get_memory_statistics", token); }
  void reset_peak_memory() override { add("reset_peak_memory"); }
  void empty_cache() override { add("empty_cache"); }

 private:
  static std::string text(std::uint64_t number) { return std::to_string(number); }
  static std::string text(std::string_view text) { return std::string(text); }
  static std::string text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  template <typename... Fields>
  void add(const char* name, const Fields&... fields) {
    std::string& line = lines.emplace_back(name);
    ((line += " " + text(fields)), ...);
  }
};

class ReplyRecorder final : public ReplyHandler {
 public:
  std::vector<std::string> lines;
  std::vector<Failure> failures;
  std::vector<std::vector<DescribedOutput>> described;

  void failure(Failure failure) override {
    lines.emplace_back("failure");
    failures.push_back(std::move(failure));
  }
  void bytes(Token token, std::span<const std::byte> bytes) override {
    lines.push_back("bytes " + std::to_string(token) + " " + std::to_string(bytes.size()));
  }
  void byte_frames(Token token, std::uint64_t size_bytes, std::uint32_t frames) override {
    lines.push_back("byte_frames " + std::to_string(token) + " " + std::to_string(size_bytes) +
                    " " + std::to_string(frames));
  }
  void outputs(Token token, std::vector<DescribedOutput> outputs) override {
    lines.push_back("outputs " + std::to_string(token));
    described.push_back(std::move(outputs));
  }
  void generator_state(Token token, std::span<const std::byte> state) override {
    lines.push_back("generator_state " + std::to_string(token) + " " +
                    std::to_string(state.size()));
  }
  void synchronized(Token token) override {
    lines.push_back("synchronized " + std::to_string(token));
  }
  void failed(Token token, Failure failure) override {
    lines.push_back("failed " + std::to_string(token));
    failures.push_back(std::move(failure));
  }
  void numbers(Token token, Numbers numbers) override {
    std::string& line = lines.emplace_back("numbers " + std::to_string(token));
    for (const auto& [name, value] : numbers) line += " " + name + " " + std::to_string(value);
  }
};

}  // namespace torch_remote::protocol
