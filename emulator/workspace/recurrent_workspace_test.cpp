// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Reserves and workspaces of the 476 networks that an H200 ran (recorded/recurrent_networks.txt).
#include "emulator/workspace/recurrent_workspace.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <string>
#include <vector>

#include "core/protocol/recurrent_network.h"
#include "emulator/workspace/call_view.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::RecurrentKind;
using protocol::RecurrentNetwork;

struct Record {
  std::string line;
  RecurrentNetwork network;
  protocol::DataType dtype = kFloat32;
  std::uint64_t training_workspace = 0, reserve = 0, inference_workspace = 0;
};

Record parse(const std::string& line) {
  Record record{.line = line};
  RecurrentNetwork& network = record.network;
  std::string kind, dtype, batch_first;
  double dropout = 0;
  std::istringstream(line) >> kind >> network.layer_count >> network.direction_count >>
      network.input_size >> network.hidden_size >> network.batch_size >> network.step_count >>
      dtype >> dropout >> batch_first >> record.training_workspace >> record.reserve >>
      record.inference_workspace;
  network.kind = kind == "LSTM"  ? RecurrentKind::kLstm
                 : kind == "GRU" ? RecurrentKind::kGru
                                 : RecurrentKind::kTanh;
  network.row_count = network.batch_size * network.step_count;
  network.has_dropout = dropout > 0;
  record.dtype = dtype == "float32" ? kFloat32 : dtype == "float16" ? kFloat16 : kBfloat16;
  network.element_size_bytes = protocol::data_type_size_bytes(record.dtype);
  return record;
}

std::vector<Record> records() {
  std::ifstream file(std::filesystem::path(__FILE__).parent_path() / "recorded" /
                     "recurrent_networks.txt");
  std::vector<Record> all;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with('#')) all.push_back(parse(line));
  }
  return all;
}

TEST(RecurrentWorkspaceTest, ReservesAreTheRecordedOnes) {
  ASSERT_EQ(records().size(), 476);
  for (const Record& record : records())
    EXPECT_EQ(protocol::reserve_size_bytes(record.network), record.reserve) << record.line;
}

TEST(RecurrentWorkspaceTest, WorkspacesAreTheRecordedOnesButForAlignment) {
  constexpr std::uint64_t kPiecesAlignmentMax = 400;
  int exact = 0;
  for (const Record& record : records()) {
    for (const bool trains : {true, false}) {
      const std::uint64_t recorded =
          trains ? record.training_workspace : record.inference_workspace;
      const std::uint64_t modelled =
          recurrent_workspace_bytes(record.network, record.dtype, trains);
      EXPECT_LE(modelled, recorded) << record.line;
      EXPECT_LE(recorded - modelled, kPiecesAlignmentMax) << record.line;
      exact += recorded == modelled ? 1 : 0;
    }
  }
  EXPECT_GE(exact, 850);  // of 952
}

TEST(RecurrentWorkspaceTest, WeightsAreInOneBuffer) {
  const RecurrentNetwork network{
      .kind = RecurrentKind::kLstm, .layer_count = 2, .input_size = 1024, .hidden_size = 1024};
  EXPECT_EQ(weight_element_count(network), 2 * (4 * 1024 * 2048 + 8 * 1024));
  RecurrentNetwork projected = network;
  projected.projection_size = 16;
  projected.direction_count = 2;
  projected.has_biases = false;
  EXPECT_EQ(weight_element_count(projected),
            2 * (4 * 1024 * (1024 + 16) + 16 * 1024) + 2 * (4 * 1024 * (32 + 16) + 16 * 1024));
}

}  // namespace
}  // namespace torch_remote::emulator::workspace
