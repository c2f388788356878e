// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A plan: one operator with everything about its arguments that does not vary from call to call.
// The client sends it once under a number; a call then holds that number, tensor ids and the
// numbers that vary. Grammar:
//
//   definition := plan:u32 operator:u32 describes_outputs:u8 count:u16 argument* count:u16 output*
//   argument   := kind:u8 ...          (see ArgumentKind)
//   output     := kind:u8 ...          (see OutputKind)
//   values     := one field for each argument and output marked "in the call", in order
#pragma once

#include <complex>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/protocol/bytes.h"
#include "core/protocol/sparse_layout.h"
#include "core/protocol/tensor_layout.h"

namespace torch_remote::protocol {

enum class ArgumentKind : std::uint8_t {
  kNone = 0,
  kTensor = 1,  // access:u8 offset_size:u8 layout; in the call: id:u64 offset:(0, 4 or 8 bytes)
  kUndefinedTensor = 2,
  kTensorList = 3,  // count:u32, then arguments of kinds 0, 1, 2, 4 and 20
  kHostScalar = 4,  // dtype:u8 wrapped:u8; in the call: 8 bytes (complex128: 16), a 0-d CPU tensor
  kInteger = 5,     // i64: also dtypes, layouts and memory formats, by PyTorch's numbers
  kBoolean = 6,     // u8
  kDouble = 7,      // f64
  kComplex = 8,     // f64 f64
  kVaryingInteger = 9,   // in the call: i64
  kVaryingBoolean = 10,  // in the call: u64, 0 or 1
  kVaryingDouble = 11,   // in the call: f64
  kVaryingComplex = 12,  // in the call: f64 f64
  kNumberList = 13,      // count:u32, then number arguments, fixed or varying, of the kinds above
  kIntegerList = 14,     // count:u32 i64*
  kDoubleList = 15,      // count:u32 f64*
  kBooleanList = 16,     // count:u32 u8*
  kString = 17,          // length:u32 bytes
  kDevice = 18,          // u8: 0 the executor's device, 1 CPU
  kGenerator = 19,       // in the call: generator number, u64
  kSparseTensor = 20,    // sparse layout, then its components: two or three of kind kTensor
};

enum class Access : std::uint8_t { kRead = 0, kWrite = 1 };

struct Argument {
  ArgumentKind kind = ArgumentKind::kNone;
  Access access = Access::kRead;       // kTensor: whether the operator's schema says it is written
  std::uint8_t offset_size_bytes = 0;  // kTensor: 0 (offset is zero), 4 or 8
  bool flag = false;                   // kHostScalar: wrapped number; kBoolean, kDevice: the value
  TensorLayout layout{};               // kTensor; kHostScalar: its dtype alone
  std::int64_t integer = 0;            // kInteger
  std::complex<double> number{};       // kDouble, kComplex
  SparseLayout sparse{};               // kSparseTensor
  std::vector<Argument> elements{};    // kTensorList, kNumberList; kSparseTensor: its components
  std::vector<std::int64_t> integers{};  // kIntegerList, kBooleanList
  std::vector<double> doubles{};         // kDoubleList
  std::string text{};                    // kString

  friend bool operator==(const Argument&, const Argument&) = default;
};

enum class OutputKind : std::uint8_t {
  kFresh = 0,     // layout; in the call: the id that the new storage gets
  kArgument = 1,  // the operator returns one of its arguments: nothing to do
  kUndefined = 2,
  kList = 3,  // count:u32, then outputs of kind kFresh or kUndefined
};

struct Output {
  OutputKind kind = OutputKind::kUndefined;
  TensorLayout layout{};
  std::vector<Output> elements{};

  friend bool operator==(const Output&, const Output&) = default;
};

struct PlanDefinition {
  std::uint32_t plan = 0;
  std::uint32_t operator_number = 0;
  bool describes_outputs = false;  // outputs is empty; calls are kCallAndDescribe
  std::vector<Argument> arguments{};
  std::vector<Output> outputs{};

  friend bool operator==(const PlanDefinition&, const PlanDefinition&) = default;
};

// Where a plan's calls hold tensor ids, so that order and failures can be followed without knowing
// operators. Positions are byte offsets into the call's values.
struct CallShape {
  std::vector<std::uint32_t> read_id_positions;
  std::vector<std::uint32_t> written_id_positions;
  std::vector<std::uint32_t> output_id_positions;
  std::uint32_t values_size_bytes = 0;
};

CallShape call_shape(const PlanDefinition& definition);

// Bytes that a host scalar of this dtype takes in the call.
inline std::uint32_t host_scalar_size_bytes(DataType dtype) {
  return data_type_size_bytes(dtype) > 8 ? 16 : 8;
}

void put_argument(ByteWriter& writer, const Argument& argument);
void put_output(ByteWriter& writer, const Output& output);
void put_plan(ByteWriter& writer, const PlanDefinition& definition);

// Throws ProtocolError with the reason when the bytes are malformed.
PlanDefinition get_plan(ByteReader& reader);

}  // namespace torch_remote::protocol
