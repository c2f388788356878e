// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What torch-remote-executor was asked to do.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/executor/server.h"
#include "core/protocol/wire.h"
#include "emulator/gpu_model.h"
#include "emulator/own_gpu.h"

namespace torch_remote::executor {

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct CommandLine {
  std::string endpoint = "tcp://127.0.0.1:0";
  std::string device = "cpu";
  std::optional<std::uint32_t> device_count;
  const GpuModel* emulated = nullptr;
  GpuValues own_gpu;  // of a user's own, which is then the emulated one
  std::uint32_t thread_count = 0;
  std::uint64_t storage_size_bytes_max = protocol::kStorageSizeBytesMax;
  std::vector<std::string> libraries;  // of operators, in the order in which they are loaded
  ServerOptions server;
  std::string secret_key_file;
  std::string authorized_keys_file;
  bool exit_with_parent = false;
  bool only_version = false;
  bool only_help = false;
};

extern const char* const kHelp;

// The arguments without the program's name; options are "--name value" or "--name=value". Throws
// UsageError saying what is wrong, std::invalid_argument for a GPU type that there is none of, or
// values of one that can't be right.
CommandLine parse_command_line(std::span<char* const> arguments);

}  // namespace torch_remote::executor
