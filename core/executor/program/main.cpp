// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// torch-remote-executor: serves a device to clients over ZeroMQ until it is told to end. server.h
// does the serving; here are the command line, the signals and the words.
#include <atomic>
#include <cerrno>
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
#include "core/executor/program/command_line.h"
#include "core/executor/program/cuda_plugin.h"
#include "core/executor/program/key_files.h"
#include "core/executor/server.h"
#include "core/transport/endpoint.h"
#include "emulator/gpu_model.h"
#include "emulator/own_gpu.h"
#include "emulator/random/cuda_random.h"

#ifndef TORCH_REMOTE_VERSION
#define TORCH_REMOTE_VERSION "0.1.0"
#endif

namespace torch_remote::executor {
namespace {

constexpr int kExitUsage = 2;
constexpr int kExitFailure = 1;

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
  const std::uint32_t device_count = line.device_count.value_or(1);
  if (line.device == "null") return null_executor_factory(device_count);
  LibtorchOptions options;
  options.device = line.device;
  options.device_count = device_count;
  options.thread_count = line.thread_count;
  options.storage_size_bytes_max = line.storage_size_bytes_max;
  if (line.emulated != nullptr) {
    options.description.merge(gpu_description(*line.emulated));
    options.random_source = emulator::cuda_random_source(*line.emulated);
  }
  for (const std::string& library : line.libraries)
    options.more_operators.merge(load_operators(library));
  if (line.device == "cuda") return load_cuda_factory(options);
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

void serve(CommandLine line) {
  if (transport::check_endpoint(line.endpoint, /*allow_port_zero=*/true) ==
      transport::Scheme::kInproc) {
    throw UsageError(
        "--bind takes a tcp or ipc endpoint: nothing else can reach this process by inproc");
  }
  if (line.emulated != nullptr && line.device != "cpu")
    throw UsageError("--emulate needs --device cpu");
  if (!line.libraries.empty() && line.device == "null")
    throw UsageError("--load-library needs --device cpu or cuda: null computes nothing");
  if (line.device_count && line.device == "cuda")
    throw UsageError("--device-count is for cpu and null: with cuda, clients may choose any GPU");
  line.server.keys = read_server_keys(line.secret_key_file, line.authorized_keys_file);
  stop_on_signals();
  if (line.exit_with_parent) stop_on_closed_input();
  const std::unique_ptr<Server> server = bind(line);
  std::cout << ready_line(line, server->endpoint()) << std::endl;
  const std::string reason = server->run(stop);
  server->end_sessions(reason);
  std::cout << "torch-remote-executor ends: " << reason << std::endl;
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
