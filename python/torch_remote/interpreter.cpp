// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "python/torch_remote/interpreter.h"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <pybind11/pybind11.h>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/executor/in_process.h"
#include "python/torch_remote/interpreter_frames.h"

namespace py = pybind11;

namespace torch_remote::python {

void* InterpreterWaitPolicy::leave() {
  // PyTorch has often released the lock before an operator runs.
  return PyGILState_Check() != 0 ? PyEval_SaveThread() : nullptr;
}

void InterpreterWaitPolicy::resume(void* left) noexcept {
  if (left != nullptr) PyEval_RestoreThread(static_cast<PyThreadState*>(left));
}

void InterpreterWaitPolicy::check() {
  const py::gil_scoped_acquire acquired;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  if (executor::is_in_process_executor_thread()) {
    throw std::runtime_error(
        "an operator's kernel, which runs on the executor, can't wait for a remote device: it may "
        "compute with its arguments, which are CPU tensors there, but read no remote tensor");
  }
}

namespace {

// Places in programs by number. A place is a code object and an instruction within it. Code objects
// that were looked at are kept alive, so that a number, and an address, means the same as long as
// the process lives; a program has only so much code, and a table that is full gives no more
// numbers.
class Places {
 public:
  // Whether a code object belongs to torch or to this package: users look for their own line.
  bool is_library(PyCodeObject* code) {
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = is_library_.find(code); found != is_library_.end())
        return found->second;
    }
    const py::gil_scoped_acquire acquired;
    const bool inside = is_library_file(attribute(code, "co_filename"));
    const std::lock_guard lock(mutex_);
    if (is_library_.size() >= kCodeObjectsMax) return inside;
    if (is_library_.emplace(code, inside).second) Py_INCREF(code);
    return inside;
  }

  // 0 when a table is full. The code object was looked at by is_library before, which keeps it.
  std::uint32_t number(PyCodeObject* code, int instruction) {
    const std::lock_guard lock(mutex_);
    if (!is_library_.contains(code)) return 0;
    const Place place{code, instruction};
    if (const auto found = numbers_.find(place); found != numbers_.end()) return found->second;
    if (places_.size() >= kPlacesMax) return 0;
    places_.push_back(place);
    const auto number = static_cast<std::uint32_t>(places_.size());
    numbers_.emplace(place, number);
    return number;
  }

  std::string describe(std::uint32_t number) {
    Place place{};
    {
      const std::lock_guard lock(mutex_);
      if (number == 0 || number > places_.size()) return {};
      place = places_[number - 1];
    }
    const py::gil_scoped_acquire acquired;
    const int line = PyCode_Addr2Line(place.code, place.instruction);
    return attribute(place.code, "co_filename") + ":" + std::to_string(line) + " in " +
           attribute(place.code, "co_name");
  }

 private:
  static constexpr std::size_t kPlacesMax = 1 << 20;
  static constexpr std::size_t kCodeObjectsMax = 1 << 18;
  struct Place {
    PyCodeObject* code;
    int instruction;
    friend bool operator==(const Place&, const Place&) = default;
  };
  struct Hash {
    std::size_t operator()(const Place& place) const {
      return (reinterpret_cast<std::uintptr_t>(place.code) >> 4) * 0x9E3779B97F4A7C15 +
             static_cast<std::size_t>(place.instruction);
    }
  };

  // By the folders that the packages lie in: a user may well have a folder named torch.
  bool is_library_file(const std::string& file) const {
    return file.starts_with("<frozen") || file.starts_with(torch_folder_) ||
           (file.starts_with(own_folder_) && !file.starts_with(own_folder_ + "demo/"));
  }

  // With the separator at its end.
  static std::string folder_of(const char* package) {
    const auto file = py::module_::import(package).attr("__file__").cast<std::string>();
    return file.substr(0, file.rfind('/') + 1);
  }

  static std::string attribute(PyCodeObject* code, const char* name) {
    return py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(code))
        .attr(name)
        .cast<std::string>();
  }

  std::string torch_folder_ = folder_of("torch");
  std::string own_folder_ = folder_of("torch_remote");
  std::mutex mutex_;  // never held while the interpreter's lock is waited for
  std::unordered_map<PyCodeObject*, bool> is_library_;
  std::unordered_map<Place, std::uint32_t, Hash> numbers_;
  std::vector<Place> places_;
};

Places& places() {
  static auto* instance =
      new Places;  // outlives the interpreter's end, when tensors are still dropped
  return *instance;
}

// The innermost frame outside of the libraries; the innermost of all when there is none.
struct Search {
  std::uint32_t found = 0;
  std::uint32_t innermost = 0;
};

int visit_frame(void* context, PyCodeObject* code, int instruction) {
  auto& search = *static_cast<Search*>(context);
  if (!places().is_library(code)) {
    search.found = places().number(code, instruction);
    return 0;
  }
  if (search.innermost == 0) search.innermost = places().number(code, instruction);
  return 1;
}

// Autograd's threads run no Python of the user's: what they do belongs to the line that ran last.
std::atomic<std::uint32_t> last_location{0};

std::uint32_t capture() noexcept {
  PyThreadState* state = PyGILState_GetThisThreadState();
  if (state == nullptr) return last_location.load(std::memory_order_relaxed);
  try {
    Search search;
    torch_remote_walk_frames(state, &visit_frame, &search);
    const std::uint32_t location = search.found != 0 ? search.found : search.innermost;
    if (location == 0) return last_location.load(std::memory_order_relaxed);
    last_location.store(location, std::memory_order_relaxed);
    return location;
  } catch (...) {
    return 0;
  }
}

std::string describe(std::uint32_t location) { return places().describe(location); }

}  // namespace

const client::SourceLocationHooks& interpreter_source_location_hooks() {
  places();  // looks for the packages now, while nobody waits for the interpreter's lock
  static constexpr client::SourceLocationHooks hooks{.capture = &capture, .describe = &describe};
  return hooks;
}

}  // namespace torch_remote::python
