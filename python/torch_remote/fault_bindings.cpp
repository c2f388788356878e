// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "python/torch_remote/fault_bindings.h"

#include <chrono>
#include <cstdint>
#include <pybind11/stl.h>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/session/session.h"
#include "emulator/faults/fault_channel.h"
#include "emulator/faults/fault_observer.h"

namespace py = pybind11;

namespace torch_remote::python {
namespace {

using emulator::Fault;
using emulator::FaultPlan;

// Kind, place, operator, message, seconds: as faults.py says them.
using Row = std::tuple<std::string, std::uint64_t, std::string, std::string, double>;

Fault::Kind kind_of(const std::string& name) {
  if (name == "out of memory") return Fault::Kind::kOutOfMemory;
  if (name == "failure") return Fault::Kind::kFailure;
  if (name == "end") return Fault::Kind::kEnd;
  if (name == "cut") return Fault::Kind::kCut;
  throw std::invalid_argument("no kind of fault: " + name);
}

std::shared_ptr<FaultPlan> make_plan(const std::vector<Row>& rows, double reply_delay_s) {
  std::vector<Fault> faults;
  for (const auto& [kind, at, operator_name, message, duration_s] : rows) {
    faults.push_back(
        {.kind = kind_of(kind),
         .at = at,
         .operator_name = operator_name,
         .message = message,
         .duration = std::chrono::milliseconds(static_cast<std::int64_t>(duration_s * 1e3))});
  }
  return std::make_shared<FaultPlan>(
      std::move(faults), std::chrono::microseconds(static_cast<std::int64_t>(reply_delay_s * 1e6)));
}

// What has been counted and what has happened, while the session's lock is held.
py::dict fault_counts(int index) {
  session::Session& session = client::device_at(index).session();
  const auto faults = std::dynamic_pointer_cast<emulator::FaultObserver>(session.observer());
  if (!faults) {
    throw std::invalid_argument("remote:" + std::to_string(index) + " was made without faults");
  }
  std::uint64_t operations = 0, allocations = 0;
  std::vector<std::size_t> happened;
  {
    const py::gil_scoped_release released;
    session.with_observer_at_rest([&] {
      operations = faults->plan()->operations();
      allocations = faults->plan()->allocations();
      happened = faults->plan()->happened();
    });
  }
  py::dict row;
  row["operations"] = operations;
  row["allocations"] = allocations;
  row["happened"] = happened;
  return row;
}

}  // namespace

std::unique_ptr<transport::Channel> with_faults(std::unique_ptr<transport::Channel> channel,
                                                const std::shared_ptr<FaultPlan>& plan) {
  if (!plan) return channel;
  return std::make_unique<emulator::FaultChannel>(std::move(channel), plan);
}

void add_faults(client::Device& device, const std::shared_ptr<FaultPlan>& plan) {
  if (!plan) return;
  session::Session& session = device.session();
  session.set_observer(
      std::make_shared<emulator::FaultObserver>(plan, session.observer(), device.index()));
}

void define_faults(py::module_& module) {
  py::class_<FaultPlan, std::shared_ptr<FaultPlan>>(module, "FaultPlan")
      .def(py::init(&make_plan), py::arg("faults"), py::arg("reply_delay_s"))
      .def("start", &FaultPlan::start);
  module.def("fault_counts", &fault_counts, py::arg("index"));
}

}  // namespace torch_remote::python
