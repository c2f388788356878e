// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "python/torch_remote/profile_bindings.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <pybind11/stl.h>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/client/device.h"
#include "core/client/recording.h"
#include "core/client/source_location.h"
#include "core/session/session.h"

namespace py = pybind11;

namespace torch_remote::python {
namespace {

using client::RecordedOperation;

const char* name_of(RecordedOperation::Kind kind) {
  switch (kind) {
    case RecordedOperation::Kind::kCopyToDevice:
      return "copy to device";
    case RecordedOperation::Kind::kCopyFromDevice:
      return "copy from device";
    case RecordedOperation::Kind::kOperator:
      break;
  }
  return "operator";
}

// One profile: start() once, then finish() once.
class Profile {
 public:
  ~Profile() { client::end_recording(recording_); }

  void start() {
    const py::gil_scoped_release released;
    if (!client::begin_recording(recording_)) {
      throw std::runtime_error(
          "a profile of remote devices is being taken already, by torch.profiler or "
          "torch_remote.profile(): only one can be at a time");
    }
  }

  // The fields of _profile.Operation in order.
  std::vector<py::tuple> finish() {
    const std::vector<RecordedOperation> operations = [this] {
      const py::gil_scoped_release released;
      client::end_recording(recording_);
      return recording_->finish();
    }();
    std::map<std::uint32_t, py::str> locations;
    std::vector<py::tuple> rows;
    rows.reserve(operations.size());
    for (const RecordedOperation& one : operations) {
      const auto [location, is_new] = locations.try_emplace(one.location);
      if (is_new) location->second = py::str(client::describe_source_location(one.location));
      rows.push_back(py::make_tuple(name_of(one.kind), one.name, one.device_index, one.stream,
                                    one.thread, one.start_ns, one.end_ns, one.host_start_ns,
                                    one.host_end_ns, one.is_modelled, one.size_bytes,
                                    one.allocated_bytes, location->second));
    }
    return rows;
  }

  std::vector<std::string> errors() const { return recording_->errors(); }

 private:
  std::shared_ptr<client::Recording> recording_ = std::make_shared<client::Recording>();
};

using TimesUs = std::tuple<double, double, double>;

std::optional<TimesUs> modelled_time_us(int index) {
  if (client::is_pending(index)) return std::nullopt;
  const auto time = client::device_at(index).session().modelled_time();
  if (!time) return std::nullopt;
  return TimesUs(time->host_us, time->gpu_us, time->gpu_busy_us);
}

}  // namespace

void add_profile_bindings(py::module_& module) {
  py::class_<Profile>(module, "Profile")
      .def(py::init<>())
      .def("start", &Profile::start)
      .def("finish", &Profile::finish)
      .def("errors", &Profile::errors);
  module.def("modelled_time_us", &modelled_time_us, py::arg("index"),
             py::call_guard<py::gil_scoped_release>());
}

}  // namespace torch_remote::python
