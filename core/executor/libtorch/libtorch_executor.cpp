// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/libtorch_executor.h"

#include <ATen/DynamicLibrary.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <algorithm>
#include <c10/core/Device.h>
#include <c10/util/Exception.h>
#include <exception>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <torch/version.h>
#include <utility>

#include "core/executor/libtorch/device_executor.h"
#include "core/executor/libtorch/errors.h"

namespace torch_remote::executor {
namespace {

c10::Device parse_device(const std::string& text) {
  try {
    const c10::Device device(text);
    if (device.is_cpu()) return device;
  } catch (const c10::Error&) {
    // Said below.
  }
  throw std::invalid_argument("no device \"" + text + "\": this executor has \"cpu\"");
}

std::set<std::string> operator_names() {
  std::set<std::string> names;
  for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames())
    names.insert(c10::toString(name));
  return names;
}

}  // namespace

ExecutorFactory libtorch_executor_factory(LibtorchOptions options) {
  const c10::Device device = parse_device(options.device);
  return [options = std::move(options), device](const protocol::Hello& hello) {
    return libtorch::translating_errors([&]() -> std::unique_ptr<Executor> {
      return std::make_unique<libtorch::DeviceExecutor>(options, device, hello);
    });
  };
}

std::set<std::string> load_operators(const std::string& file) {
  const std::set<std::string> before = operator_names();
  try {
    // Its operators may be in use as long as the process lives.
    const at::DynamicLibrary library(file.c_str(), /*alt_name=*/nullptr, /*leak_handle=*/true);
  } catch (const std::exception& error) {
    const c10::Error* torch_error = dynamic_cast<const c10::Error*>(&error);
    throw std::invalid_argument(
        "can't load the operators of " + file + ": " +
        (torch_error != nullptr ? torch_error->what_without_backtrace() : error.what()));
  }
  std::set<std::string> added;
  std::ranges::set_difference(operator_names(), before, std::inserter(added, added.end()));
  if (added.empty()) {
    throw std::invalid_argument(file +
                                " registers no operator with PyTorch, or was loaded already");
  }
  return added;
}

std::string libtorch_version() { return TORCH_VERSION; }

std::uint32_t libtorch_thread_count() { return static_cast<std::uint32_t>(at::get_num_threads()); }

}  // namespace torch_remote::executor
