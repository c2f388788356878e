// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "python/torch_remote/emulated_devices.h"

#include <ATen/Context.h>
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <pybind11/stl.h>
#include <stdexcept>
#include <string_view>
#include <torch/version.h>
#include <utility>

#include "core/client/source_location.h"
#include "core/session/session.h"
#include "emulator/allocator/allocator_settings.h"
#include "emulator/allocator/allocator_version.h"
#include "emulator/faults/fault_observer.h"
#include "emulator/gpu_model.h"
#include "emulator/own_gpu.h"
#include "emulator/workspace/library_settings.h"

namespace py = pybind11;

namespace torch_remote::python {
namespace {

using emulator::Emulation;

std::optional<std::string_view> environment(std::string_view name) {
  const char* value = std::getenv(
      std::string(name).c_str());  // NOLINT(concurrency-mt-unsafe): Python's lock is held
  return value == nullptr ? std::nullopt : std::optional<std::string_view>(value);
}

// The newer name comes first, as in PyTorch.
emulator::AllocatorSettings allocator_settings() {
  const auto version = emulator::allocator_version(TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR);
  for (const char* name : {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"}) {
    if (const auto text = environment(name)) {
      return emulator::parse_allocator_settings(*text, version);
    }
  }
  return emulator::parse_allocator_settings("", version);
}

// PyTorch's settings of the process, as CUDA's kernels would read them at the call.
emulator::ProgramSettings program_settings() {
  const at::Context& context = at::globalContext();
  return {.precision = {.allow_tf32_in_products = context.allowTF32CuBLAS(),
                        .allow_tf32_in_convolutions = context.allowTF32CuDNN(at::Float32Op::CONV)},
          .attention = {.flash = context.userEnabledFlashSDP(),
                        .efficient = context.userEnabledMemEfficientSDP(),
                        .cudnn = context.userEnabledCuDNNSDP(),
                        .math = context.userEnabledMathSDP()}};
}

// Faults may stand in front of the models.
std::shared_ptr<session::SessionObserver> observer_of(int index) {
  return emulator::without_faults(client::device_at(index).session().observer());
}

std::shared_ptr<Emulation> emulation_of(int index) {
  auto emulation = std::dynamic_pointer_cast<Emulation>(observer_of(index));
  if (!emulation) {
    throw std::invalid_argument("remote:" + std::to_string(index) + " emulates no GPU");
  }
  return emulation;
}

bool is_emulated(int index) {
  return !client::is_pending(index) && std::dynamic_pointer_cast<Emulation>(observer_of(index));
}

// Calls a function of the emulation while the session's lock is held.
template <typename Function>
auto at_rest(int index, Function function) {
  const std::shared_ptr<Emulation> emulation = emulation_of(index);
  const py::gil_scoped_release released;
  return client::device_at(index).session().with_observer_at_rest(
      [&] { return function(*emulation); });
}

py::dict shortfall_of(const emulator::Shortfall& shortfall) {
  py::dict row;
  row["operation"] = shortfall.operation;
  row["after_operations"] = shortfall.number;
  row["line"] = client::describe_source_location(shortfall.location);
  row["requested_bytes"] = shortfall.report.requested_bytes;
  row["allocated_bytes"] = shortfall.report.allocated_bytes;
  row["free_bytes"] = shortfall.report.free_bytes;
  return row;
}

py::dict divergence_of(const emulator::Divergence& divergence) {
  py::dict row;
  row["operation"] = divergence.operation;
  row["line"] = client::describe_source_location(divergence.location);
  row["message"] = divergence.message;
  row["is_refused"] = divergence.is_refused;
  return row;
}

py::dict row_of(const emulator::GpuOutcome& outcome) {
  py::dict row;
  row["type"] = std::string(outcome.type);
  row["total_bytes"] = outcome.total_bytes;
  row["usable_bytes"] = outcome.usable_bytes;
  row["allocated_bytes_peak"] = outcome.allocated_bytes_peak;
  row["reserved_bytes_peak"] = outcome.reserved_bytes_peak;
  row["shortfall"] = outcome.shortfall ? py::object(shortfall_of(*outcome.shortfall)) : py::none();
  row["divergence"] =
      outcome.divergence ? py::object(divergence_of(*outcome.divergence)) : py::none();
  py::list memory;
  for (const auto& point : outcome.memory) {
    memory.append(
        py::make_tuple(point.first_operation, point.allocated_bytes, point.reserved_bytes));
  }
  row["memory"] = std::move(memory);
  row["host_us"] = outcome.host_us;
  row["gpu_us"] = outcome.gpu_us;
  row["gpu_busy_us"] = outcome.gpu_busy_us;
  row["price_usd_per_s"] = outcome.price_usd_per_s;
  row["time_us"] = std::max(outcome.host_us, outcome.gpu_us);
  row["step_ends_us"] = outcome.step_ends_us;
  row["time_samples_us"] = outcome.time_samples_us;
  py::list operators;
  for (const auto& use : outcome.operators)
    operators.append(py::make_tuple(use.name, use.calls, use.gpu_us));
  row["operators"] = std::move(operators);
  return row;
}

py::dict emulation(int index) {
  struct Told {
    std::vector<emulator::GpuOutcome> gpus;
    std::vector<std::uint64_t> steps;
    std::vector<std::uint64_t> time_samples;
    emulator::ZeroReads reads;
    std::uint64_t operations;
    bool has_values;
  };
  const Told told = at_rest(index, [](const Emulation& one) {
    return Told{.gpus = one.outcomes(),
                .steps = one.steps(),
                .time_samples = one.time_samples(),
                .reads = one.zero_reads(),
                .operations = one.operations(),
                .has_values = one.has_values()};
  });
  py::list rows;
  for (const emulator::GpuOutcome& outcome : told.gpus) rows.append(row_of(outcome));
  py::dict result;
  result["gpus"] = std::move(rows);
  result["steps"] = told.steps;
  result["time_samples"] = told.time_samples;
  result["operations"] = told.operations;
  result["dry_run"] = !told.has_values;
  result["reads"] = told.reads.count;
  result["first_read"] = client::describe_source_location(told.reads.first_location);
  return result;
}

}  // namespace

std::map<std::string, std::string> dry_run_description(const GpuModel& gpu) {
  std::map<std::string, std::string> description = gpu_description(gpu);
  description["device"] = "dry run";
  description["kernels"] = "cuda";  // results have the dtypes that CUDA's kernels give them
  return description;
}

std::shared_ptr<Emulation> make_emulation(std::vector<GpuModel> gpus, emulator::Values values,
                                          bool records_out_of_memory, int device_index,
                                          const emulator::NetworkOptions& network) {
  using emulator::OutOfMemoryPolicy;
  return std::make_shared<Emulation>(
      std::move(gpus),
      emulator::EmulationOptions{
          .values = values,
          .memory = {.allocator = allocator_settings(),
                     .libraries = emulator::library_settings(environment),
                     .out_of_memory = records_out_of_memory ? OutOfMemoryPolicy::kRecord
                                                            : OutOfMemoryPolicy::kRaise,
                     .device_index = device_index},
          .time = {.network = network},
          .settings = &program_settings});
}

void attach_emulation(client::Device& device, std::shared_ptr<Emulation> emulation) {
  if (!emulation) {
    const GpuModel* gpu = described_gpu_model(device.session().welcome().description);
    if (gpu == nullptr) return;
    emulation = make_emulation({*gpu}, emulator::Values::kComputed,
                               /*records_out_of_memory=*/false, device.index());
  }
  device.set_memory_size_bytes(emulation->gpus().front().total_memory_bytes);
  device.session().set_observer(std::move(emulation));
}

void define_emulation(py::module_& module) {
  module.def("emulation", &emulation, py::arg("index"));
  module.def(
      "mark_step", [](int index) { at_rest(index, [](Emulation& one) { one.mark_step(); }); },
      py::arg("index"));
  module.def(
      "clear_steps", [](int index) { at_rest(index, [](Emulation& one) { one.clear_steps(); }); },
      py::arg("index"));
  module.def("is_emulated", &is_emulated, py::arg("index"));
  module.def(
      "emulated_gpu",
      [](int index) -> std::optional<GpuModel> {
        if (!is_emulated(index)) return std::nullopt;
        return emulation_of(index)->gpus().front();
      },
      py::arg("index"));
}

}  // namespace torch_remote::python
