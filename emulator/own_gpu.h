// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A user's own GPU: values under names, as a file gives them (docs/EMULATOR.md, "Your own card")
// and as an executor tells its clients. Whatever isn't given is another GPU's: that of "like", or
// of the nearest architecture.
#pragma once

#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "emulator/gpu_model.h"

namespace torch_remote {

// By name, as text: {"like", "H100"}, {"multiprocessor_count", "114"}, {"peak.fp16", "756"}.
using GpuValues = std::map<std::string, std::string>;

enum class GpuValueKind {
  kText,
  kCapability,  // "9.0"
  kWhole,
  kBytes,   // a whole number of bytes
  kNumber,  // with or without fraction
  kPeak,    // a number, or "none" where the hardware has no such unit
};

// A value that a user's own GPU can have.
struct GpuValueRule {
  std::string_view name;
  GpuValueKind kind = GpuValueKind::kText;
  // What the value has to be: "a whole number from 1 to 1024".
  std::string_view expected;
};

// All of them, in the order of the documentation.
std::span<const GpuValueRule> gpu_value_rules();

// A value can't be right. name() is one of the rules', or a name that none of them has.
class GpuValueError : public std::invalid_argument {
 public:
  GpuValueError(std::string name, const std::string& message)
      : std::invalid_argument(message), name_(std::move(name)) {}

  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

// The GPU of these values. Built-in rows aside, equal values give the same object, which lives as
// long as the program: a handful of them, as many as users have files. Any thread may call it.
//
// Throws GpuValueError; its message names the value and says what was expected.
const GpuModel& own_gpu_model(const GpuValues& values);

// What tells another process which GPU is emulated, under the keys of an executor's description:
// its type, and the values of a user's own.
std::map<std::string, std::string> gpu_description(const GpuModel& model);

// The GPU that such a description tells of; null where it tells of none that is known here.
const GpuModel* described_gpu_model(const std::map<std::string, std::string>& description);

}  // namespace torch_remote
