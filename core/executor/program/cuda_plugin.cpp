// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/program/cuda_plugin.h"

#include <dlfcn.h>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace torch_remote::executor {
namespace {

constexpr const char* kDriver = "libcuda.so.1";
constexpr const char* kPlugin = "torch_remote_cuda.so";

// A library that stays loaded until the process ends: neither the driver nor PyTorch's libraries,
// which register themselves, can be taken out again.
class LoadedLibrary {
 public:
  LoadedLibrary(const std::string& name, int flags)
      : handle_(::dlopen(name.c_str(), RTLD_NOW | RTLD_NODELETE | flags)) {
    if (handle_ == nullptr) throw std::runtime_error(::dlerror());
  }

  template <typename Function>
  Function* find(const char* name) const {
    auto* function = reinterpret_cast<Function*>(::dlsym(handle_, name));
    if (function == nullptr) throw std::runtime_error(::dlerror());
    return function;
  }

 private:
  void* handle_;
};

// ---- the driver ----

// Of cuda.h, which is not needed to build this program.
using DriverResult = int;
constexpr DriverResult kDriverSuccess = 0;

[[noreturn]] void throw_no_device(const std::string& reason, const std::string& advice) {
  throw std::runtime_error("no CUDA device: " + reason + "; " + advice);
}

LoadedLibrary load_driver() {
  try {
    return {kDriver, RTLD_LOCAL};
  } catch (const std::runtime_error& error) {
    throw_no_device(std::string("this machine has no NVIDIA driver (") + error.what() + ")",
                    "install it, give the container its GPUs (docker run --gpus all), or compute "
                    "with --device cpu");
  }
}

std::string describe(const LoadedLibrary& driver, DriverResult result) {
  const char* name = nullptr;
  const char* text = nullptr;
  driver.find<DriverResult(DriverResult, const char**)>("cuGetErrorName")(result, &name);
  driver.find<DriverResult(DriverResult, const char**)>("cuGetErrorString")(result, &text);
  return (name != nullptr ? name : "error " + std::to_string(result)) +
         (text != nullptr ? std::string(" (") + text + ")" : "");
}

// Asks the driver, not PyTorch: it answers in milliseconds, and where it fails, it says why.
void check_for_device() {
  const LoadedLibrary driver = load_driver();
  int count = 0;
  DriverResult result = driver.find<DriverResult(unsigned)>("cuInit")(0);
  if (result == kDriverSuccess)
    result = driver.find<DriverResult(int*)>("cuDeviceGetCount")(&count);
  if (result != kDriverSuccess) {
    throw_no_device("the NVIDIA driver says " + describe(driver, result),
                    "look at what nvidia-smi shows, and at CUDA_VISIBLE_DEVICES");
  }
  if (count == 0) {
    throw_no_device("the NVIDIA driver knows no GPU",
                    "look at what nvidia-smi shows, and at CUDA_VISIBLE_DEVICES");
  }
}

// ---- the plugin ----

LoadedLibrary load_plugin() {
  const auto path = std::filesystem::read_symlink("/proc/self/exe").parent_path() / kPlugin;
  if (!std::filesystem::exists(path)) {
    throw std::runtime_error(
        "this torch-remote was built without CUDA, " + path.string() +
        " is missing: build it with a CUDA build of torch and CUDA's headers (pip install "
        "--no-build-isolation, or ./dev build cuda in a checkout)");
  }
  try {
    // As if the program had been linked with it: PyTorch's libraries load others by name that
    // expect to find them.
    return {path.string(), RTLD_GLOBAL};
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(std::string("PyTorch's CUDA libraries can't be loaded: ") +
                             error.what() +
                             "; is this the torch that torch-remote was built with, "
                             "with all that it depends on?");
  }
}

}  // namespace

ExecutorFactory load_cuda_factory(const LibtorchOptions& options) {
  check_for_device();
  ExecutorFactory factory;
  load_plugin().find<MakeCudaFactory>(kMakeCudaFactory)(options, factory);
  return factory;
}

}  // namespace torch_remote::executor
