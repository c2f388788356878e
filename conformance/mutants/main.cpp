// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// mutant_executor: serves 201 devices, of which the first computes as it should and each other one
// has a defect. torch_remote_conformance.mutants starts it; it ends with its standard input.
#include <atomic>
#include <charconv>
#include <cstdint>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "conformance/mutants/mutant_executor.h"
#include "conformance/mutants/mutation.h"
#include "core/executor/libtorch/libtorch_executor.h"
#include "core/executor/server.h"

namespace torch_remote::mutants {
namespace {

constexpr const char* kUsage =
    "usage: mutant_executor --list [SEED] | --bind ENDPOINT [SEED]\n"
    "  --list prints the mutants, one JSON object a line; --bind serves them, mutant i as device "
    "i\n";

std::uint64_t parse_seed(std::string_view text) {
  std::uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error != std::errc() || end != text.data() + text.size())
    throw std::invalid_argument("the seed is no whole number");
  return seed;
}

// No text in it has anything to escape.
void list(const std::vector<Mutation>& table) {
  for (std::size_t i = 0; i < table.size(); ++i) {
    std::cout << R"({"number": )" << i + 1 << R"(, "kind": ")" << name_of(table[i].kind)
              << R"(", "met_by": ")" << met_by(table[i]) << R"(", "text": ")" << describe(table[i])
              << "\"}\n";
  }
}

void serve(const std::string& endpoint, std::vector<Mutation> table) {
  executor::ServerOptions options;
  // Workers that were killed in a case that hung said no goodbye.
  options.session_count_max = 512;
  options.session_timeout = std::chrono::seconds(30);
  std::atomic<bool> stop{false};
  executor::Server server(
      endpoint,
      mutant_executor_factory(executor::libtorch_executor_factory({.thread_count = 1}),
                              std::move(table)),
      options);
  std::thread([&stop] {
    char buffer[256];
    while (::read(STDIN_FILENO, buffer, sizeof(buffer)) > 0) {
    }
    stop = true;
  }).detach();
  std::cout << server.endpoint() << std::endl;
  server.end_sessions(server.run(stop));
}

int run(const std::vector<std::string>& arguments) {
  const bool lists = !arguments.empty() && arguments[0] == "--list";
  const bool serves = arguments.size() >= 2 && arguments[0] == "--bind";
  const std::size_t seed_index = lists ? 1 : 2;
  if ((!lists && !serves) || arguments.size() > seed_index + 1) {
    std::cerr << kUsage;
    return 2;
  }
  auto table = draw_mutations(arguments.size() > seed_index ? parse_seed(arguments[seed_index])
                                                            : kDefaultSeed);
  if (lists) {
    list(table);
  } else {
    serve(arguments[1], std::move(table));
  }
  return 0;
}

}  // namespace
}  // namespace torch_remote::mutants

int main(int count, char** arguments) {
  try {
    return torch_remote::mutants::run({arguments + 1, arguments + count});
  } catch (const std::exception& error) {
    std::cerr << "mutant_executor: " << error.what() << std::endl;
    return 1;
  }
}
