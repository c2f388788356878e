// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/program/command_line.h"

#include <charconv>
#include <chrono>
#include <cstddef>
#include <string_view>
#include <system_error>

namespace torch_remote::executor {

const char* const kHelp =
    R"(usage: torch-remote-executor [options]

Computes what torch-remote clients ask for, until SIGTERM or SIGINT. Without keys it serves this
machine alone.

  --bind ENDPOINT         where to listen, for example tcp://127.0.0.1:5555 or ipc:///tmp/executor;
                          port 0 picks a free one (default: tcp://127.0.0.1:0)
  --device cpu|cuda|null  what computes: the processor, NVIDIA GPUs, or nothing (default: cpu)
  --device-count N        how many such devices clients may choose from (default: 1); with cuda
                          there are as many as there are GPUs
  --emulate GPU           tells clients that this is a GPU of that type, for example T4 or A100-80GB
  --gpu-value NAME=VALUE  a value of a GPU of your own, which is emulated; may be given several times.
                          `torch-remote executor --emulate my_gpu.toml` gives those of a file
  --threads N             threads of an operation, for clients that ask for no number
  --load-library FILE     loads a library of operators that clients may use beside PyTorch's own, as
                          torch.ops.load_library does; may be given several times
  --storage-limit SIZE    the largest single storage, in bytes or like 8GiB
  --sessions N            clients at a time (default: 64)
  --session-timeout-s N   seconds after which a silent client's session ends (default: 300)
  --secret-key-file FILE  encrypts: this executor's secret key, as `torch-remote keys` writes it; or
                          the variable TORCH_REMOTE_SECRET_KEY has the key itself
  --authorized-keys FILE  the public keys of the clients that may connect, one a line; or the
                          variable TORCH_REMOTE_AUTHORIZED_KEYS has them, with spaces between
  --idle-timeout-s N      end when nothing was computed for so many seconds
  --lease-s N             end when nothing was heard of any client for so many seconds
  --lifetime-s N          end after so many seconds
  --exit-with-parent      end when standard input closes, as it does when the parent process ends
  --version               print the version and end
  --help                  print this and end
)";

namespace {

std::uint64_t parse_number(std::string_view option, std::string_view text,
                           std::uint64_t number_max) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0 ||
      number > number_max) {
    throw UsageError(std::string(option) + " takes a whole number from 1 to " +
                     std::to_string(number_max) + ", not \"" + std::string(text) + "\"");
  }
  return number;
}

std::uint64_t parse_size_bytes(std::string_view option, std::string_view text) {
  struct Unit {
    std::string_view name;
    std::uint64_t size_bytes;
  };
  constexpr Unit kUnits[] = {
      {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}, {"TiB", 1ull << 40}};
  for (const Unit& unit : kUnits) {
    if (!text.ends_with(unit.name)) continue;
    text.remove_suffix(unit.name.size());
    return unit.size_bytes *
           parse_number(option, text, protocol::kStorageSizeBytesMax / unit.size_bytes);
  }
  return parse_number(option, text, protocol::kStorageSizeBytesMax);
}

std::chrono::seconds parse_seconds(std::string_view option, std::string_view text) {
  constexpr std::uint64_t kTenYears = 10 * 365 * 86400;
  return std::chrono::seconds(parse_number(option, text, kTenYears));
}

struct Option {
  std::string_view name;
  bool takes_value;
  void (*apply)(CommandLine& line, std::string_view value);
};

constexpr Option kOptions[] = {
    {"--bind", true, [](CommandLine& line, std::string_view value) { line.endpoint = value; }},
    {"--device", true,
     [](CommandLine& line, std::string_view value) {
       if (value != "cpu" && value != "cuda" && value != "null") {
         throw UsageError("--device takes cpu, cuda or null, not \"" + std::string(value) + "\"");
       }
       line.device = value;
     }},
    {"--device-count", true,
     [](CommandLine& line, std::string_view value) {
       line.device_count = static_cast<std::uint32_t>(parse_number("--device-count", value, 128));
     }},
    {"--emulate", true,
     [](CommandLine& line, std::string_view value) { line.emulated = &gpu_model(value); }},
    {"--gpu-value", true,
     [](CommandLine& line, std::string_view value) {
       const std::size_t equals = value.find('=');
       if (equals == std::string_view::npos)
         throw UsageError("--gpu-value takes NAME=VALUE, not \"" + std::string(value) + "\"");
       line.own_gpu[std::string(value.substr(0, equals))] = value.substr(equals + 1);
     }},
    {"--threads", true,
     [](CommandLine& line, std::string_view value) {
       line.thread_count = static_cast<std::uint32_t>(parse_number("--threads", value, 4096));
     }},
    {"--load-library", true,
     [](CommandLine& line, std::string_view value) { line.libraries.emplace_back(value); }},
    {"--storage-limit", true,
     [](CommandLine& line, std::string_view value) {
       line.storage_size_bytes_max = parse_size_bytes("--storage-limit", value);
     }},
    {"--sessions", true,
     [](CommandLine& line, std::string_view value) {
       line.server.session_count_max = parse_number("--sessions", value, 65536);
     }},
    {"--session-timeout-s", true,
     [](CommandLine& line, std::string_view value) {
       line.server.session_timeout = parse_seconds("--session-timeout-s", value);
     }},
    {"--secret-key-file", true,
     [](CommandLine& line, std::string_view value) { line.secret_key_file = value; }},
    {"--authorized-keys", true,
     [](CommandLine& line, std::string_view value) { line.authorized_keys_file = value; }},
    {"--idle-timeout-s", true,
     [](CommandLine& line, std::string_view value) {
       line.server.lifetime.idle = parse_seconds("--idle-timeout-s", value);
     }},
    {"--lease-s", true,
     [](CommandLine& line, std::string_view value) {
       line.server.lifetime.lease = parse_seconds("--lease-s", value);
     }},
    {"--lifetime-s", true,
     [](CommandLine& line, std::string_view value) {
       line.server.lifetime.total = parse_seconds("--lifetime-s", value);
     }},
    {"--exit-with-parent", false,
     [](CommandLine& line, std::string_view) { line.exit_with_parent = true; }},
    {"--version", false, [](CommandLine& line, std::string_view) { line.only_version = true; }},
    {"--help", false, [](CommandLine& line, std::string_view) { line.only_help = true; }},
    {"-h", false, [](CommandLine& line, std::string_view) { line.only_help = true; }},
};

const Option& find_option(std::string_view name) {
  for (const Option& option : kOptions) {
    if (option.name == name) return option;
  }
  throw UsageError("there is no option \"" + std::string(name) + "\"; --help lists them");
}

}  // namespace

CommandLine parse_command_line(std::span<char* const> arguments) {
  CommandLine line;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    const std::size_t equals = argument.find('=');
    const Option& option = find_option(argument.substr(0, equals));
    const bool has_value = equals != std::string_view::npos;
    if (!option.takes_value) {
      if (has_value) throw UsageError(std::string(option.name) + " takes no value");
      option.apply(line, {});
    } else if (has_value) {
      option.apply(line, argument.substr(equals + 1));
    } else if (i + 1 < arguments.size()) {
      option.apply(line, arguments[++i]);
    } else {
      throw UsageError(std::string(option.name) + " needs a value");
    }
  }
  if (!line.own_gpu.empty()) {
    if (line.emulated != nullptr)
      throw UsageError("--emulate and --gpu-value don't go together; say like=TYPE by --gpu-value");
    line.emulated = &own_gpu_model(line.own_gpu);
  }
  return line;
}

}  // namespace torch_remote::executor
