// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "python/torch_remote/time_bindings.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "core/protocol/plan.h"
#include "emulator/gpu_model.h"
#include "emulator/time/operator_recorder.h"
#include "emulator/time/operator_time.h"

namespace py = pybind11;

namespace torch_remote::python {
namespace {

using emulator::Calibration;
using emulator::OperatorRecorder;
using Values = std::map<std::string, double>;

// A built-in GPU with some values replaced, for cards that are measured but not emulated.
GpuModel changed_model(const std::string& type, const Values& changes) {
  GpuModel model = gpu_model(type);
  const std::map<std::string, std::optional<double>*> peaks = {
      {"fp64", &model.peak.fp64}, {"fp64_tensor_core", &model.peak.fp64_tensor_core},
      {"fp32", &model.peak.fp32}, {"tf32", &model.peak.tf32},
      {"fp16", &model.peak.fp16}, {"bf16", &model.peak.bf16},
      {"fp8", &model.peak.fp8},   {"int8", &model.peak.int8}};
  for (const auto& [name, value] : changes) {
    if (const auto peak = peaks.find(name); peak != peaks.end()) {
      *peak->second = value > 0 ? std::optional(value) : std::nullopt;
    } else if (name == "capability_major") {
      model.capability_major = static_cast<std::int32_t>(value);
    } else if (name == "capability_minor") {
      model.capability_minor = static_cast<std::int32_t>(value);
    } else if (name == "multiprocessor_count") {
      model.multiprocessor_count = static_cast<std::int32_t>(value);
    } else if (name == "l2_cache_bytes") {
      model.l2_cache_bytes = static_cast<std::uint64_t>(value);
    } else if (name == "dram_bandwidth_gb_per_s") {
      model.dram_bandwidth_gb_per_s = value;
    } else if (name == "boost_clock_mhz") {
      model.boost_clock_mhz = static_cast<std::int32_t>(value);
    } else if (name == "tdp_w") {
      model.tdp_w = static_cast<std::int32_t>(value);
    } else {
      throw std::invalid_argument("a GPU's model of time has no value \"" + name + "\"");
    }
  }
  return model;
}

Calibration changed_calibration(const Values& changes) {
  Calibration calibration = emulator::default_calibration();
  std::size_t found = 0;
  for (const emulator::CalibrationRow& row : emulator::calibration_rows()) {
    if (const auto change = changes.find(std::string(row.name)); change != changes.end()) {
      calibration.*row.value = change->second;
      ++found;
    }
  }
  if (found != changes.size())
    throw std::invalid_argument("a changed value is none of calibration_rows()");
  return calibration;
}

emulator::CacheState cache_state(const std::string& name) {
  if (name == "program") return emulator::CacheState::kProgram;
  if (name == "repeated") return emulator::CacheState::kRepeated;
  if (name == "cold") return emulator::CacheState::kCold;
  throw std::invalid_argument("cache has to be \"program\", \"repeated\" or \"cold\", not \"" +
                              name + "\"");
}

emulator::PrecisionSettings settings_of(bool tf32_products, bool tf32_convolutions) {
  return {.allow_tf32_in_products = tf32_products, .allow_tf32_in_convolutions = tf32_convolutions};
}

py::tuple dump_operator(const OperatorRecorder& recorder, std::size_t index) {
  const OperatorRecorder::Operator& op = recorder.operators().at(index);
  protocol::ByteWriter writer;
  protocol::put_plan(writer, op.plan);
  const auto bytes = writer.bytes();
  return py::make_tuple(op.name, op.overload,
                        py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::size_t add_operator(OperatorRecorder& recorder, const std::string& name,
                         const std::string& overload, const std::string& bytes) {
  protocol::ByteReader reader(std::as_bytes(std::span(bytes)));
  return recorder.add({name, overload, protocol::get_plan(reader)});
}

using OperatorRow = std::tuple<double, double, int, std::map<std::string, double>>;

OperatorRow row_of(const emulator::OperatorTime& time) {
  std::map<std::string, double> classes;
  for (const emulator::KernelTime& kernel : time.kernels)
    classes[std::string(kernel_class_name(kernel.kernel_class))] += kernel.us;
  return {time.gpu_us, time.host_us, time.kernel_count, std::move(classes)};
}

double gpu_us_of(const emulator::OperatorTime& time) { return time.gpu_us; }

// What told() says of the recorded operators' times on a GPU.
template <typename Row, Row (*told)(const emulator::OperatorTime&)>
std::vector<Row> times_of(const OperatorRecorder& recorder, const std::vector<std::size_t>& indices,
                          const std::string& gpu, const Values& gpu_changes,
                          const Values& calibration, const std::string& cache, bool tf32_products,
                          bool tf32_convolutions) {
  const GpuModel model = changed_model(gpu, gpu_changes);
  const Calibration changed = changed_calibration(calibration);
  const emulator::CacheState state = cache_state(cache);
  const auto settings = settings_of(tf32_products, tf32_convolutions);
  std::vector<Row> rows;
  rows.reserve(indices.size());
  for (const std::size_t index : indices) {
    const OperatorRecorder::Operator& op = recorder.operators().at(index);
    rows.push_back(told(
        emulator::operator_time({op.name, op.overload, op.plan}, model, settings, state, changed)));
  }
  return rows;
}

}  // namespace

void add_time_bindings(py::module_& module) {
  py::class_<OperatorRecorder, std::shared_ptr<OperatorRecorder>>(module, "OperatorRecorder")
      .def(py::init<>())
      .def("take", &OperatorRecorder::take)
      .def("dump", &dump_operator, py::arg("index"))
      .def("add", &add_operator, py::arg("name"), py::arg("overload"), py::arg("plan"))
      .def("__len__", [](const OperatorRecorder& self) { return self.operators().size(); })
      .def(
          "name",
          [](const OperatorRecorder& self, std::size_t index) {
            return self.operators().at(index).name;
          },
          py::arg("index"))
      .def(
          "layouts",
          [](const OperatorRecorder& self, std::size_t index) {
            const auto& plan = self.operators().at(index).plan;
            std::vector<std::tuple<int, std::vector<std::int64_t>, std::vector<std::int64_t>>> rows;
            for (const auto& argument : plan.arguments) {
              if (argument.kind == protocol::ArgumentKind::kTensor)
                rows.emplace_back(argument.layout.dtype, argument.layout.sizes,
                                  argument.layout.strides);
            }
            return rows;
          },
          py::arg("index"))
      .def("times", &times_of<OperatorRow, &row_of>, py::arg("indices"), py::arg("gpu"),
           py::arg("gpu_changes"), py::arg("calibration"), py::arg("cache"),
           py::arg("tf32_products"), py::arg("tf32_convolutions"))
      .def("gpu_us", &times_of<double, &gpu_us_of>, py::arg("indices"), py::arg("gpu"),
           py::arg("gpu_changes"), py::arg("calibration"), py::arg("cache"),
           py::arg("tf32_products"), py::arg("tf32_convolutions"))
      .def(
          "roofline_us",
          [](const OperatorRecorder& self, const std::vector<std::size_t>& indices,
             const std::string& gpu, const Values& gpu_changes, bool tf32_products,
             bool tf32_convolutions) {
            const GpuModel model = changed_model(gpu, gpu_changes);
            const auto settings = settings_of(tf32_products, tf32_convolutions);
            std::vector<double> rows;
            for (const std::size_t index : indices) {
              const OperatorRecorder::Operator& op = self.operators().at(index);
              rows.push_back(
                  emulator::roofline_us({op.name, op.overload, op.plan}, model, settings));
            }
            return rows;
          },
          py::arg("indices"), py::arg("gpu"), py::arg("gpu_changes"), py::arg("tf32_products"),
          py::arg("tf32_convolutions"));
  module.def("calibration_rows", [] {
    std::vector<std::tuple<std::string, double, std::string>> rows;
    for (const emulator::CalibrationRow& row : emulator::calibration_rows())
      rows.emplace_back(row.name, emulator::default_calibration().*row.value, row.source);
    return rows;
  });
}

}  // namespace torch_remote::python
