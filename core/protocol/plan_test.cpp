// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Plans: every kind comes back, call_shape finds the ids, malformed definitions have a reason.
#include "core/protocol/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/protocol/golden_for_test.h"
#include "core/protocol/samples_for_test.h"

namespace torch_remote::protocol {
namespace {

using Kind = ArgumentKind;

std::vector<std::byte> encode(const PlanDefinition& plan) {
  ByteWriter writer;
  put_plan(writer, plan);
  return {writer.bytes().begin(), writer.bytes().end()};
}

PlanDefinition decode(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  PlanDefinition plan = get_plan(reader);
  EXPECT_TRUE(reader.empty());
  return plan;
}

TEST(PlanTest, GoldenBytes) {
  EXPECT_EQ(decode(expect_golden("plan_add", encode(sample_plan()))), sample_plan());
  EXPECT_EQ(decode(expect_golden("plan_every_kind", encode(sample_plan_of_every_kind()))),
            sample_plan_of_every_kind());
  EXPECT_EQ(decode(expect_golden("plan_sparse", encode(sample_plan_of_sparse_tensors()))),
            sample_plan_of_sparse_tensors());
}

TEST(PlanTest, EveryKindOfArgumentComesBackAlone) {
  for (const Argument& argument : sample_plan_of_every_kind().arguments) {
    const PlanDefinition plan{.arguments = {argument}};
    EXPECT_EQ(decode(encode(plan)), plan) << static_cast<int>(argument.kind);
  }
  PlanDefinition describing{.describes_outputs = true};
  EXPECT_EQ(decode(encode(describing)), describing);
}

TEST(PlanTest, ListsOfTensorsTakeHostScalars) {
  const Argument scalar{.kind = Kind::kHostScalar, .layout = {.dtype = 7}};
  const PlanDefinition plan{
      .arguments = {{.kind = Kind::kTensorList, .elements = {scalar, scalar}}}};
  EXPECT_EQ(decode(encode(plan)), plan);
  EXPECT_EQ(call_shape(plan).values_size_bytes, 16u);
}

TEST(PlanTest, CallShapeFindsIdsAndTheSize) {
  const CallShape add = call_shape(sample_plan());
  EXPECT_THAT(add.read_id_positions, testing::ElementsAre(0, 8));
  EXPECT_THAT(add.written_id_positions, testing::IsEmpty());
  EXPECT_THAT(add.output_id_positions, testing::ElementsAre(16));
  EXPECT_EQ(add.values_size_bytes, 24u);

  // read 8+4, written 8+8, in the list 8+4 and 8+8, scalars 8 and 16, varying 8 8 8 16, in the
  // list of numbers 8, generator 8, then two outputs.
  const CallShape every = call_shape(sample_plan_of_every_kind());
  EXPECT_THAT(every.read_id_positions, testing::ElementsAre(0, 28));
  EXPECT_THAT(every.written_id_positions, testing::ElementsAre(12, 40));
  EXPECT_THAT(every.output_id_positions, testing::ElementsAre(136, 144));
  EXPECT_EQ(every.values_size_bytes, 152u);
}

TEST(PlanTest, CallShapeFindsTheComponentsOfSparseTensors) {
  // COO 8 and 8, BSR 8, 8 and 8+4, in the list BSR and COO once more.
  const CallShape shape = call_shape(sample_plan_of_sparse_tensors());
  EXPECT_THAT(shape.written_id_positions, testing::ElementsAre(0, 8, 72, 80));
  EXPECT_THAT(shape.read_id_positions, testing::ElementsAre(16, 24, 32, 44, 52, 60));
  EXPECT_EQ(shape.values_size_bytes, 88u);
}

TEST(PlanTest, MalformedSparseTensorsHaveAReason) {
  const Argument coo = sample_plan_of_sparse_tensors().arguments.at(0);
  const auto changed = [&](auto change) {
    Argument argument = coo;
    change(argument);
    return PlanDefinition{.arguments = {argument}};
  };
  const struct {
    PlanDefinition plan;
    const char* reason;
  } cases[] = {
      {changed([](Argument& a) { a.sparse.kind = static_cast<SparseKind>(3); }),
       "unknown sparse layout 3"},
      {changed([](Argument& a) { a.sparse.sizes = {4, -3}; }), "negative size"},
      {changed([](Argument& a) { a.sparse.sizes = {std::int64_t{1} << 62, 4}; }), "too many"},
      {changed([](Argument& a) { a.sparse.sizes.assign(65, 1); }), "dimensions: count 65"},
      {changed([](Argument& a) { a.sparse.sparse_dimensions = 3; }), "more sparse dimensions"},
      {changed([](Argument& a) { a.sparse.kind = SparseKind::kCsr; }), "a compressed layout"},
      {changed([](Argument& a) { a.elements[1] = {.kind = Kind::kNone}; }), "is no tensor"},
      {changed([&](Argument& a) { a.elements[0] = coo; }), "is no tensor"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT([&] { decode(encode(test.plan)); },
                testing::ThrowsMessage<ProtocolError>(testing::HasSubstr(test.reason)));
  }
}

TEST(PlanTest, MalformedPlansHaveAReason) {
  const Argument list{.kind = Kind::kTensorList};
  const Argument numbers{.kind = Kind::kNumberList};
  const auto with = [](const Argument& argument) {
    return PlanDefinition{.arguments = {argument}};
  };
  const auto nested = [](Argument outer, const Argument& inner) {
    outer.elements = {inner};
    return outer;
  };
  const TensorLayout no_dtype{.dtype = 13};
  const Output fresh{.kind = OutputKind::kFresh, .layout = sample_layout()};
  const struct {
    PlanDefinition plan;
    const char* reason;
  } cases[] = {
      {with({.kind = static_cast<Kind>(21)}), "unknown argument kind 21"},
      {with({.kind = Kind::kTensor, .access = static_cast<Access>(2)}), "unknown access"},
      {with({.kind = Kind::kTensor, .offset_size_bytes = 2}), "an offset has"},
      {with({.kind = Kind::kTensor, .layout = no_dtype}), "unknown dtype 13"},
      {with({.kind = Kind::kHostScalar, .layout = no_dtype}), "unknown dtype 13"},
      {with(nested(list, list)), "a list within a list"},
      {with(nested(numbers, list)), "a list within a list"},
      {with(nested(list, {.kind = Kind::kInteger})), "wrong kind"},
      {with(nested(numbers, {.kind = Kind::kTensor})), "wrong kind"},
      {with(nested(numbers, {.kind = Kind::kString})), "wrong kind"},
      {with({.kind = Kind::kString, .text = std::string(70000, 'x')}), "string of 70000 bytes"},
      {{.arguments = std::vector<Argument>(257)}, "arguments: count 257"},
      {{.outputs = std::vector<Output>(257)}, "outputs: count 257"},
      {{.outputs = {{.kind = static_cast<OutputKind>(4)}}}, "unknown output kind 4"},
      {{.outputs = {{.kind = OutputKind::kFresh, .layout = no_dtype}}}, "unknown dtype"},
      {{.outputs = {{.kind = OutputKind::kList, .elements = {{.kind = OutputKind::kList}}}}},
       "a list within a list"},
      {{.outputs = {{.kind = OutputKind::kList, .elements = {{.kind = OutputKind::kArgument}}}}},
       "an argument within a list"},
      {{.describes_outputs = true, .outputs = {fresh}}, "lists none"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT([&] { decode(encode(test.plan)); },
                testing::ThrowsMessage<ProtocolError>(testing::HasSubstr(test.reason)));
  }
}

TEST(PlanTest, ACountBeyondTheEndIsRefusedBeforeMemoryIsTaken) {
  auto bytes = encode(PlanDefinition{.arguments = {{.kind = Kind::kIntegerList, .integers = {1}}}});
  for (std::size_t i = 12; i < 16; ++i) bytes[i] = std::byte{0x7F};  // the list's count
  EXPECT_THAT([&] { decode(bytes); },
              testing::ThrowsMessage<ProtocolError>(testing::HasSubstr("list: count")));
}

TEST(PlanTest, EveryTruncationThrows) {
  for (const auto& plan : {sample_plan_of_every_kind(), sample_plan_of_sparse_tensors()}) {
    const auto bytes = encode(plan);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto cut = std::span(bytes).first(size);
      ByteReader reader(cut);
      EXPECT_THROW(get_plan(reader), ProtocolError) << size;
    }
  }
}

}  // namespace
}  // namespace torch_remote::protocol
