// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// torch-remote-executor: serves a device to clients over ZeroMQ until it is told to end. server.h
// does the serving; here are the command line, the signals and the words.
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <iostream>
#include <memory>
#include <pthread.h>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <utility>

#include <zmq.hpp>

#include "core/executor/libtorch/libtorch_executor.h"
#include "core/executor/null_executor.h"
#include "core/executor/server.h"
#include "core/transport/endpoint.h"
#include "emulator/gpu_model.h"

#ifndef TORCH_REMOTE_VERSION
#define TORCH_REMOTE_VERSION "0.1.0"
#endif

namespace torch_remote::executor {
namespace {

constexpr int kExitUsage = 2;
constexpr int kExitFailure = 1;

constexpr const char* kHelp =
    R"(usage: torch-remote-executor [options]

Computes what torch-remote clients on this machine ask for, until SIGTERM or SIGINT.

  --bind ENDPOINT         where to listen, for example tcp://127.0.0.1:5555 or ipc:///tmp/executor;
                          port 0 picks a free one (default: tcp://127.0.0.1:0)
  --device cpu|null       what computes; null computes nothing (default: cpu)
  --emulate GPU           tells clients that this is a GPU of that type, for example T4 or A100-80GB
  --threads N             threads of an operation, for clients that ask for no number
  --storage-limit SIZE    the largest single storage, in bytes or like 8GiB
  --sessions N            clients at a time (default: 64)
  --session-timeout-s N   seconds after which a silent client's session ends (default: 300)
  --exit-with-parent      end when standard input closes, as it does when the parent process ends
  --version               print the version and end
  --help                  print this and end
)";

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct CommandLine {
  std::string endpoint = "tcp://127.0.0.1:0";
  std::string device = "cpu";
  const GpuModel* emulated = nullptr;
  std::uint32_t thread_count = 0;
  std::uint64_t storage_size_bytes_max = protocol::kStorageSizeBytesMax;
  ServerOptions server;
  bool exit_with_parent = false;
  bool only_version = false;
  bool only_help = false;
};

// ---- command line ----

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

struct Option {
  std::string_view name;
  bool takes_value;
  void (*apply)(CommandLine& line, std::string_view value);
};

constexpr Option kOptions[] = {
    {"--bind", true, [](CommandLine& line, std::string_view value) { line.endpoint = value; }},
    {"--device", true,
     [](CommandLine& line, std::string_view value) {
       if (value != "cpu" && value != "null") {
         throw UsageError("--device takes cpu or null, not \"" + std::string(value) + "\"");
       }
       line.device = value;
     }},
    {"--emulate", true,
     [](CommandLine& line, std::string_view value) { line.emulated = &gpu_model(value); }},
    {"--threads", true,
     [](CommandLine& line, std::string_view value) {
       line.thread_count = static_cast<std::uint32_t>(parse_number("--threads", value, 4096));
     }},
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
       line.server.session_timeout =
           std::chrono::seconds(parse_number("--session-timeout-s", value, 10 * 365 * 86400));
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

// Options are "--name value" or "--name=value".
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
  return line;
}

void check_endpoint(const std::string& endpoint) {
  if (transport::check_endpoint(endpoint, /*allow_port_zero=*/true) == transport::Scheme::kInproc) {
    throw UsageError(
        "--bind takes a tcp or ipc endpoint: nothing else can reach this process by inproc");
  }
  if (!transport::is_local(endpoint)) {
    throw UsageError(
        "keys are needed to serve beyond this machine; this version has none yet: use "
        "tcp://127.0.0.1:PORT");
  }
}

// ---- ending ----

std::atomic<bool> stop{false};

// SIGTERM and SIGINT are blocked in all threads, and waited for in one: no handler interrupts
// ZeroMQ or PyTorch. To be called before any other thread exists.
void stop_on_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] {
    int signal = 0;
    while (sigwait(&signals, &signal) != 0) {
    }
    stop = true;
  }).detach();
}

// The parent keeps the other end of standard input; its end, however it comes, closes that.
void stop_on_closed_input() {
  std::thread([] {
    char buffer[256];
    for (;;) {
      const ssize_t count = ::read(STDIN_FILENO, buffer, sizeof(buffer));
      if (count == 0 || (count < 0 && errno != EINTR)) break;
    }
    stop = true;
  }).detach();
}

// ---- serving ----

ExecutorFactory make_factory(const CommandLine& line) {
  if (line.device == "null") return null_executor_factory();
  LibtorchOptions options;
  options.device = line.device;
  options.thread_count = line.thread_count;
  options.storage_size_bytes_max = line.storage_size_bytes_max;
  if (line.emulated != nullptr) options.description["emulates"] = line.emulated->type;
  return libtorch_executor_factory(std::move(options));
}

std::string ready_line(const CommandLine& line, const std::string& endpoint) {
  std::string text = "torch-remote-executor " TORCH_REMOTE_VERSION " serves " + line.device;
  if (line.device != "null") {
    const std::uint32_t thread_count =
        line.thread_count != 0 ? line.thread_count : libtorch_thread_count();
    text += " (torch " + libtorch_version() + ", " + std::to_string(thread_count) +
            (thread_count == 1 ? " thread)" : " threads)");
  }
  text += " on " + endpoint;
  if (line.emulated != nullptr) {
    text += " as an emulated " + std::string(line.emulated->type) + " (" +
            std::string(line.emulated->name) + ")";
  }
  return text;
}

std::unique_ptr<Server> bind(const CommandLine& line) {
  try {
    return std::make_unique<Server>(line.endpoint, make_factory(line), line.server);
  } catch (const zmq::error_t& error) {
    throw std::runtime_error("can't listen on " + line.endpoint + ": " + error.what());
  }
}

void serve(const CommandLine& line) {
  check_endpoint(line.endpoint);
  if (line.emulated != nullptr && line.device == "null")
    throw UsageError("--emulate needs --device cpu");
  stop_on_signals();
  if (line.exit_with_parent) stop_on_closed_input();
  const std::unique_ptr<Server> server = bind(line);
  std::cout << ready_line(line, server->endpoint()) << std::endl;
  server->run(stop);
  server->end_sessions("the executor was told to end");
  std::cout << "torch-remote-executor ends" << std::endl;
}

int run(std::span<char* const> arguments) {
  const CommandLine line = parse_command_line(arguments);
  if (line.only_help) {
    std::cout << kHelp;
  } else if (line.only_version) {
    std::cout << "torch-remote-executor " TORCH_REMOTE_VERSION " (torch " << libtorch_version()
              << ")" << std::endl;
  } else {
    serve(line);
  }
  return 0;
}

int fail(int exit_code, const std::string& reason) {
  std::cerr << "torch-remote-executor: " << reason << std::endl;
  return exit_code;
}

}  // namespace
}  // namespace torch_remote::executor

int main(int count, char** arguments) {
  using namespace torch_remote::executor;
  try {
    return run({arguments + 1, static_cast<std::size_t>(count > 0 ? count - 1 : 0)});
  } catch (const UsageError& error) {
    return fail(kExitUsage, error.what());
  } catch (const std::invalid_argument& error) {
    return fail(kExitUsage, error.what());  // an endpoint or a GPU type
  } catch (const std::exception& error) {
    return fail(kExitFailure, error.what());
  }
}
