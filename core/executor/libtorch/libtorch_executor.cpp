// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/libtorch_executor.h"

#include <ATen/Parallel.h>
#include <c10/core/Device.h>
#include <c10/util/Exception.h>
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

}  // namespace

ExecutorFactory libtorch_executor_factory(LibtorchOptions options) {
  const c10::Device device = parse_device(options.device);
  return [options = std::move(options), device](const protocol::Hello& hello) {
    return libtorch::translating_errors([&]() -> std::unique_ptr<Executor> {
      return std::make_unique<libtorch::DeviceExecutor>(options, device, hello);
    });
  };
}

std::string libtorch_version() { return TORCH_VERSION; }

std::uint32_t libtorch_thread_count() { return static_cast<std::uint32_t>(at::get_num_threads()); }

}  // namespace torch_remote::executor
