// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Layouts from the wire: every product of sizes is checked before anybody computes with it.
#include "core/protocol/tensor_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>

namespace torch_remote::protocol {
namespace {

constexpr DataType kFloat32 = 6;
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

TensorLayout round_trip(const TensorLayout& layout) {
  ByteWriter writer;
  put_layout(writer, layout.dtype, layout.flags, layout.sizes, layout.strides);
  ByteReader reader(writer.bytes());
  TensorLayout back = get_layout(reader);
  EXPECT_TRUE(reader.empty());
  return back;
}

TEST(TensorLayoutTest, ExtentIsWhatTheLastElementNeeds) {
  struct Case {
    TensorLayout layout;
    std::uint64_t extent_size_bytes;
  };
  const Case cases[] = {
      {{.dtype = kFloat32}, 4},
      {{.dtype = kFloat32, .sizes = {2, 3}, .strides = {3, 1}}, 24},
      {{.dtype = kFloat32, .sizes = {2, 3}, .strides = {1, 2}}, 24},
      {{.dtype = kFloat32, .sizes = {2, 3}, .strides = {10, 2}}, 60},
      {{.dtype = kFloat32, .sizes = {5, 0, 7}, .strides = {kMax, kMax, 1}}, 0},
      {{.dtype = kFloat32, .sizes = {1000, 1000}, .strides = {0, 0}}, 4},
      {{.dtype = kFloat32, .sizes = {1}, .strides = {kMax}}, 4},
      {{.dtype = 0, .sizes = {std::int64_t{1} << 48}, .strides = {1}}, std::uint64_t{1} << 48},
      {{.dtype = 10, .flags = kConjugateFlag, .sizes = {3}, .strides = {2}}, 80},
  };
  for (const Case& test : cases) {
    EXPECT_EQ(extent_size_bytes(test.layout), test.extent_size_bytes);
    EXPECT_EQ(round_trip(test.layout), test.layout);
  }
}

TEST(TensorLayoutTest, ElementSizesAreThoseOfPyTorch) {
  const std::pair<DataType, std::uint64_t> sizes[] = {
      {0, 1},  {1, 1},  {2, 2},   {3, 4},  {4, 8},  {5, 2},  {6, 4},  {7, 8},
      {8, 4},  {9, 8},  {10, 16}, {11, 1}, {12, 0}, {13, 0}, {14, 0}, {15, 2},
      {16, 0}, {22, 0}, {23, 1},  {24, 1}, {25, 1}, {26, 1}, {27, 2}, {28, 4},
      {29, 8}, {30, 0}, {43, 0},  {44, 1}, {45, 1}, {46, 0}, {255, 0}};
  for (const auto& [dtype, size_bytes] : sizes) {
    EXPECT_EQ(data_type_size_bytes(dtype), size_bytes) << static_cast<int>(dtype);
  }
}

TEST(TensorLayoutTest, MalformedLayoutsHaveAReason) {
  struct Case {
    TensorLayout layout;
    const char* reason;
  };
  const Case cases[] = {
      {{.dtype = 12}, "unknown dtype 12"},
      {{.dtype = 200}, "unknown dtype 200"},
      {{.dtype = kFloat32, .sizes = {-1}, .strides = {1}}, "negative size"},
      {{.dtype = kFloat32, .sizes = {2}, .strides = {-1}}, "negative stride"},
      {{.dtype = 0, .sizes = {(std::int64_t{1} << 48) + 1}, .strides = {1}}, "largest storage"},
      {{.dtype = kFloat32, .sizes = {2}, .strides = {kMax}}, "largest storage"},
      {{.dtype = kFloat32, .sizes = {kMax}, .strides = {kMax}}, "largest storage"},
      {{.dtype = 0, .sizes = {1 << 30, 1 << 30}, .strides = {1 << 18, 1}}, "largest storage"},
      {{.dtype = 0, .sizes = {1 << 30, 1 << 30, 8}, .strides = {0, 0, 0}}, "too many elements"},
      {{.dtype = 0, .sizes = {kMax, kMax, 0}, .strides = {0, 0, 0}}, "too many elements"},
      {{.dtype = 0,
        .sizes = std::vector<std::int64_t>(65, 1),
        .strides = std::vector<std::int64_t>(65, 1)},
       "dimensions"},
  };
  for (const Case& test : cases) {
    EXPECT_THAT([&] { round_trip(test.layout); },
                testing::ThrowsMessage<ProtocolError>(testing::HasSubstr(test.reason)));
  }
  const TensorLayout deepest{.sizes = std::vector<std::int64_t>(64, 1),
                             .strides = std::vector<std::int64_t>(64, 1)};
  EXPECT_EQ(round_trip(deepest), deepest);
}

}  // namespace
}  // namespace torch_remote::protocol
