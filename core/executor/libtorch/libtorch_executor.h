// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The executor that computes with PyTorch. This header is what the rest of the program sees, free
// of torch headers; device_executor.h is the class behind it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "core/executor/executor.h"
#include "core/protocol/wire.h"

namespace torch_remote::executor {

namespace libtorch {
class RandomSource;
}  // namespace libtorch

struct LibtorchOptions {
  std::string device = "cpu";
  // How many such devices clients may choose from. They differ in nothing but their number.
  std::uint32_t device_count = 1;
  // Intra-op threads of a session whose hello asks for none; 0 leaves PyTorch's own default.
  std::uint32_t thread_count = 0;
  // The largest storage that a session may make.
  std::uint64_t storage_size_bytes_max = protocol::kStorageSizeBytesMax;
  // Operators that are run beside those of aten, by their names with overload ("torchvision::nms",
  // "mine::add.Tensor"): what load_operators gave. The rules of operator_list.h hold for them too.
  std::set<std::string> more_operators = {};
  // Every operator of this process is run: for a client in the same process.
  bool runs_every_operator = false;
  // Where random numbers come from; nullptr: PyTorch's generators of the device.
  std::shared_ptr<const libtorch::RandomSource> random_source = nullptr;
  // Added to the executor's description, or replacing an entry there: {"emulates", "T4"}.
  std::map<std::string, std::string> description = {};
};

// Throws std::invalid_argument for a device that there is none of.
ExecutorFactory libtorch_executor_factory(LibtorchOptions options = {});

// Loads a library that registers operators with PyTorch (TORCH_LIBRARY) into this process, for
// good, and returns the operators' names. Throws std::invalid_argument where that is not possible.
std::set<std::string> load_operators(const std::string& file);

// The PyTorch that this program runs with, and how many intra-op threads it takes by default.
std::string libtorch_version();
std::uint32_t libtorch_thread_count();

}  // namespace torch_remote::executor
