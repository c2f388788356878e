// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "python/torch_remote/gpu_bindings.h"

#include <pybind11/stl.h>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "emulator/gpu_model.h"
#include "emulator/own_gpu.h"

namespace py = pybind11;

namespace torch_remote::python {
namespace {

py::dict properties(const GpuModel& model) {
  py::dict row;
  row["type"] = model.type;
  row["name"] = model.name;
  row["major"] = model.capability_major;
  row["minor"] = model.capability_minor;
  row["total_memory"] = model.total_memory_bytes;
  row["multi_processor_count"] = model.multiprocessor_count;
  row["max_threads_per_multi_processor"] = model.max_threads_per_multiprocessor;
  row["max_threads_per_block"] = kMaxThreadsPerBlock;
  row["warp_size"] = model.warp_size;
  row["regs_per_multiprocessor"] = kRegistersPerMultiprocessor;
  row["shared_memory_per_block"] = kSharedMemoryPerBlockBytes;
  row["shared_memory_per_block_optin"] = shared_memory_per_block_optin_bytes(model);
  row["shared_memory_per_multiprocessor"] = model.shared_memory_per_multiprocessor_bytes;
  row["L2_cache_size"] = model.l2_cache_bytes;
  return row;
}

std::vector<std::string> gpu_types() {
  std::vector<std::string> types;
  for (const GpuModel& model : gpu_models()) types.emplace_back(model.type);
  return types;
}

std::string_view kind_name(GpuValueKind kind) {
  switch (kind) {
    case GpuValueKind::kText:
      return "text";
    case GpuValueKind::kCapability:
      return "capability";
    case GpuValueKind::kWhole:
      return "whole";
    case GpuValueKind::kBytes:
      return "bytes";
    case GpuValueKind::kNumber:
      return "number";
    case GpuValueKind::kPeak:
      return "peak";
  }
  return {};
}

std::vector<std::tuple<std::string, std::string, std::string>> rules() {
  std::vector<std::tuple<std::string, std::string, std::string>> rows;
  for (const GpuValueRule& rule : gpu_value_rules())
    rows.emplace_back(rule.name, kind_name(rule.kind), rule.expected);
  return rows;
}

// Python's ValueError, and which value it is about.
void translate(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const GpuValueError& value_error) {
    const py::object exception =
        py::reinterpret_borrow<py::object>(PyExc_ValueError)(value_error.what());
    exception.attr("value_name") = value_error.name();
    PyErr_SetObject(PyExc_ValueError, exception.ptr());
  }
}

}  // namespace

void add_gpu_bindings(py::module_& module) {
  py::register_exception_translator(&translate);
  py::class_<GpuModel>(module, "GpuModel")
      .def_property_readonly("type", [](const GpuModel& self) { return self.type; })
      .def_property_readonly(
          "own_values",
          [](const GpuModel& self) { return self.own_values ? *self.own_values : GpuValues(); })
      .def("properties", &properties);
  module.def("gpu_types", &gpu_types);
  module.def("gpu_model", [](const std::string& name) { return gpu_model(name); }, py::arg("name"));
  module.def(
      "own_gpu_model", [](const GpuValues& values) { return own_gpu_model(values); },
      py::arg("values"));
  module.def("gpu_value_rules", &rules);
}

}  // namespace torch_remote::python
