// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// docs/PROTOCOL.md's worked example is what this code writes: its bytes are golden files, and every
// dump in the manual is compared with the file that it names.
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sstream>

#include "core/protocol/envelope.h"
#include "core/protocol/golden_for_test.h"
#include "core/protocol/samples_for_test.h"
#include "core/protocol/schema_hash.h"

namespace torch_remote::protocol {
namespace {

// y = x + x for x = [1, 2]: everything that a first call needs.
CommandWriter example_commands() {
  constexpr TensorId kX = 0x4080000000000000;
  constexpr TensorId kY = kX + 512;
  constexpr std::uint64_t kAlpha = 1;
  const TensorLayout layout{.dtype = 6, .sizes = {2}, .strides = {1}};
  const Argument tensor{.kind = ArgumentKind::kTensor, .layout = layout};
  ByteWriter plan;
  put_plan(plan, {.plan = 0,
                  .operator_number = 0,
                  .arguments = {tensor, tensor, {.kind = ArgumentKind::kVaryingInteger}},
                  .outputs = {{.kind = OutputKind::kFresh, .layout = layout}}});
  const float values[] = {1, 2};
  const std::uint64_t call_values[] = {kX, kX, kAlpha, kY};
  CommandWriter writer;
  writer.allocate(kX, sizeof(values));
  writer.write(kX, 0, std::as_bytes(std::span(values)));
  writer.define_operator(
      0, schema_hash("aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor"),
      "aten::add", "Tensor");
  writer.define_plan(plan.bytes());
  std::memcpy(writer.call(0, sizeof(call_values)), call_values, sizeof(call_values));
  writer.read(0, kY, 0, sizeof(values));
  writer.free(kY);
  return writer;
}

TEST(ManualTest, TheWorkedExamplesBytes) {
  expect_golden("example_hello_envelope",
                encode(Envelope{.kind = MessageKind::kHello, .session = 0x1122334455667788}));
  expect_golden("example_commands", example_commands().bytes());
  const float sums[] = {2, 4};
  ReplyWriter replies;
  replies.bytes(0, std::as_bytes(std::span(sums)));
  expect_golden("example_replies", replies.bytes());
}

// The dumps: fenced blocks that begin with ```hexdump <name>; what follows a # is a comment.
TEST(ManualTest, EveryDumpIsItsGoldenFile) {
  const auto path = golden_folder() / "../../../../docs/PROTOCOL.md";
  std::ifstream manual(path);
  ASSERT_TRUE(manual) << path;
  std::vector<std::string> dumped;
  std::vector<std::byte> bytes;
  bool in_dump = false;
  for (std::string line; std::getline(manual, line);) {
    if (line.starts_with("```hexdump ")) {
      in_dump = true;
      dumped.push_back(line.substr(11));
      bytes.clear();
    } else if (line.starts_with("```") && in_dump) {
      in_dump = false;
      EXPECT_EQ(bytes, read_golden(golden_folder() / (dumped.back() + ".bin"))) << dumped.back();
    } else if (in_dump) {
      std::istringstream words(line.substr(0, line.find('#')));
      for (unsigned byte = 0; words >> std::hex >> byte;) {
        bytes.push_back(static_cast<std::byte>(byte));
      }
    }
  }
  EXPECT_THAT(dumped, testing::IsSupersetOf({"hello", "example_hello_envelope", "example_commands",
                                             "example_replies"}));
}

}  // namespace
}  // namespace torch_remote::protocol
