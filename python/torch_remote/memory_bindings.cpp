// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "python/torch_remote/memory_bindings.h"

#include <c10/util/Exception.h>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <stdexcept>
#include <string>
#include <torch/version.h>
#include <utility>
#include <vector>

#include "core/client/device.h"
#include "core/client/errors.h"
#include "core/client/source_location.h"
#include "emulator/allocator/allocator_settings.h"
#include "emulator/allocator/allocator_statistics.h"
#include "emulator/allocator/caching_allocator.h"
#include "emulator/allocator/memory_history.h"
#include "emulator/allocator/memory_snapshot.h"
#include "emulator/allocator/models_memory.h"
#include "emulator/allocator/out_of_memory.h"
#include "emulator/allocator/stream_events.h"
#include "emulator/faults/fault_observer.h"

namespace py = pybind11;

namespace torch_remote::python {
namespace {

using emulator::CachingAllocator;
using emulator::ModelsMemory;

// Null where the device models no memory.
std::shared_ptr<ModelsMemory> model_of(int index) {
  if (client::is_pending(index)) return nullptr;
  return std::dynamic_pointer_cast<ModelsMemory>(
      emulator::without_faults(client::device_at(index).session().observer()));
}

// Calls a function of the model while the session's lock is held, and the interpreter's isn't.
template <typename Function>
auto with_model(int index, Function function) {
  const std::shared_ptr<ModelsMemory> model = model_of(index);
  TORCH_CHECK(model, "remote:", index,
              " emulates no GPU: only a model of its allocator knows its blocks and has settings");
  const py::gil_scoped_release released;
  return client::with_torch_errors(index, [&] {
    return client::device_at(index).session().with_observer_at_rest(
        [&] { return function(*model); });
  });
}

// PyTorch's kinds of exceptions for settings that it refuses.
emulator::AllocatorSettings settings_of(const emulator::AllocatorSettings& before,
                                        const std::string& text) {
  using Kind = emulator::InvalidAllocatorSettings::Kind;
  try {
    return emulator::with_allocator_settings(before, text);
  } catch (const emulator::InvalidAllocatorSettings& error) {
    if (error.kind() == Kind::kIndexError) throw py::index_error(error.what());
    if (error.kind() == Kind::kRuntimeError) throw std::runtime_error(error.what());
    throw py::value_error(error.what());
  }
}

py::dict settings_row(const emulator::AllocatorSettings& settings) {
  py::dict row;
  row["PYTORCH_CUDA_ALLOC_CONF"] = settings.text;
  row["max_split_size"] = static_cast<std::int64_t>(settings.max_split_size_bytes);
  row["garbage_collection_threshold"] = settings.garbage_collection_threshold;
  row["expandable_segments"] = settings.expandable_segments;
  row["pinned_num_register_threads"] = settings.pinned_num_register_threads;
  row["release_lock_on_cudamalloc"] = settings.release_lock_on_cudamalloc;
  row["pinned_use_cuda_host_register"] = settings.pinned_use_cuda_host_register;
  row["graph_capture_record_stream_reuse"] = settings.graph_capture_record_stream_reuse;
  py::dict divisions;
  std::uint64_t size_mib = 1;
  for (const std::uint64_t value : settings.roundup_power2_divisions) {
    divisions[py::str(std::to_string(size_mib))] = value;
    size_mib *= 2;
  }
  row["roundup_power2_divisions"] = divisions;
  return row;
}

py::dict row_of(const emulator::BlockSnapshot& block) {
  py::dict row;
  row["address"] = block.address;
  row["size"] = block.size_bytes;
  row["requested_size"] = block.requested_bytes;
  row["state"] = block.is_allocated ? "active_allocated"
                 : block.is_active  ? "active_pending_free"
                                    : "inactive";
  row["location"] = block.location;
  return row;
}

py::dict row_of(const emulator::SegmentSnapshot& segment) {
  py::dict row;
  row["address"] = segment.address;
  row["total_size"] = segment.total_bytes;
  row["allocated_size"] = segment.allocated_bytes;
  row["active_size"] = segment.active_bytes;
  row["requested_size"] = segment.requested_bytes;
  row["stream"] = segment.stream;
  row["segment_type"] = segment.is_large ? "large" : "small";
  row["is_expandable"] = segment.is_expandable;
  row["location"] = segment.location;
  py::list blocks;
  for (const auto& block : segment.blocks) blocks.append(row_of(block));
  row["blocks"] = blocks;
  return row;
}

py::dict row_of(const emulator::MemoryEvent& event) {
  py::dict row;
  row["action"] = std::string(emulator::name_of(event.action));
  row[event.action == emulator::MemoryAction::kOutOfMemory ? "device_free" : "addr"] =
      event.address;
  row["size"] = event.size_bytes;
  row["stream"] = event.stream;
  row["time_us"] = event.time_us;
  row["location"] = event.location;
  return row;
}

py::dict rows_of(const emulator::MemorySnapshot& snapshot) {
  py::list segments;
  for (const auto& segment : snapshot.segments) segments.append(row_of(segment));
  py::list events;
  for (const auto& event : snapshot.events) events.append(row_of(event));
  py::dict row;
  row["segments"] = segments;
  row["events"] = events;
  return row;
}

py::dict memory_snapshot(int index, bool with_events) {
  emulator::AllocatorSettings settings;
  const emulator::MemorySnapshot snapshot = with_model(index, [&](ModelsMemory& model) {
    settings = model.allocator().settings();
    return model.allocator().snapshot(with_events);
  });
  py::dict row = rows_of(snapshot);
  row["settings"] = settings_row(settings);
  return row;
}

void set_memory_history(int index, bool is_enabled, int context, std::size_t entries_max,
                        bool clears) {
  with_model(index, [&](ModelsMemory& model) {
    if (clears) model.allocator().set_history({});
    model.allocator().set_history({.is_enabled = is_enabled,
                                   .context = static_cast<emulator::HistoryContext>(context),
                                   .entries_max = entries_max});
  });
}

void set_allocator_settings(int index, const std::string& text) {
  const emulator::AllocatorSettings before =
      with_model(index, [](ModelsMemory& model) { return model.allocator().settings(); });
  const emulator::AllocatorSettings settings = settings_of(before, text);
  with_model(index, [&](ModelsMemory& model) { model.allocator().set_settings(settings); });
}

// The model by itself, with streams that get ahead while all are waited for.
class StandaloneAllocator {
 public:
  StandaloneAllocator(std::uint64_t total_bytes, std::uint64_t used_bytes,
                      const std::string& settings, int torch_minor)
      : allocator_(
            emulator::DeviceMemory(total_bytes, used_bytes),
            settings_of({.version = emulator::allocator_version(2, torch_minor)}, settings)) {}

  // The block and its address.
  std::pair<std::uint32_t, std::uint64_t> allocate(std::uint64_t size_bytes, std::uint32_t stream) {
    try {
      const emulator::BlockIndex block = allocator_.allocate(size_bytes, stream, events_);
      return {block, allocator_.address_of(block)};
    } catch (const emulator::OutOfMemory& error) {
      TORCH_CHECK_WITH(OutOfMemoryError, false, error.what());
    }
  }
  void free(std::uint32_t block) { allocator_.free(block, events_); }
  void record_stream(std::uint32_t block, std::uint32_t stream) {
    allocator_.record_stream(block, stream);
  }
  void synchronize() { events_.synchronize_device(); }
  void empty_cache() { allocator_.empty_cache(events_); }
  void set_memory_fraction(double fraction) { allocator_.set_memory_fraction(fraction); }
  void reset_peak() { allocator_.reset_peak(); }
  bool take_outside(std::uint64_t size_bytes) { return allocator_.take_outside(size_bytes); }
  void place_segments(std::vector<std::uint64_t> addresses) {
    allocator_.place_segments(std::move(addresses));
  }
  void record_history() {
    allocator_.set_history({.is_enabled = true, .context = emulator::HistoryContext::kAll});
  }
  std::map<std::string, std::int64_t> statistics() const {
    const auto flat = emulator::flat_statistics(allocator_.statistics());
    return {flat.begin(), flat.end()};
  }
  py::dict snapshot() { return rows_of(allocator_.snapshot()); }

 private:
  CachingAllocator allocator_;
  emulator::EventsDoneAtSynchronize events_;
};

}  // namespace

void add_memory_bindings(py::module_& module) {
  module.def(
      "models_memory", [](int index) { return model_of(index) != nullptr; }, py::arg("index"));
  module.def("memory_snapshot", &memory_snapshot, py::arg("index"), py::arg("with_events"));
  module.def("set_memory_history", &set_memory_history, py::arg("index"), py::arg("is_enabled"),
             py::arg("context"), py::arg("entries_max"), py::arg("clears"));
  module.def(
      "set_memory_fraction",
      [](int index, double fraction) {
        with_model(index,
                   [&](ModelsMemory& model) { model.allocator().set_memory_fraction(fraction); });
      },
      py::arg("index"), py::arg("fraction"));
  module.def(
      "memory_fraction",
      [](int index) {
        return with_model(index,
                          [](ModelsMemory& model) { return model.allocator().memory_fraction(); });
      },
      py::arg("index"));
  module.def("set_allocator_settings", &set_allocator_settings, py::arg("index"), py::arg("text"));
  module.def(
      "check_allocator_settings", [](const std::string& text) { settings_of({}, text); },
      py::arg("text"));
  module.def("describe_location", &client::describe_source_location, py::arg("location"));

  py::class_<StandaloneAllocator>(module, "CachingAllocator")
      .def(py::init<std::uint64_t, std::uint64_t, const std::string&, int>(),
           py::arg("total_bytes"), py::arg("used_bytes") = 0, py::arg("settings") = "",
           py::arg("torch_minor") = TORCH_VERSION_MINOR)
      .def("allocate", &StandaloneAllocator::allocate, py::arg("size_bytes"), py::arg("stream") = 0)
      .def("free", &StandaloneAllocator::free, py::arg("block"))
      .def("record_stream", &StandaloneAllocator::record_stream, py::arg("block"),
           py::arg("stream"))
      .def("synchronize", &StandaloneAllocator::synchronize)
      .def("empty_cache", &StandaloneAllocator::empty_cache)
      .def("set_memory_fraction", &StandaloneAllocator::set_memory_fraction, py::arg("fraction"))
      .def("reset_peak", &StandaloneAllocator::reset_peak)
      .def("take_outside", &StandaloneAllocator::take_outside, py::arg("size_bytes"))
      .def("place_segments", &StandaloneAllocator::place_segments, py::arg("addresses"))
      .def("record_history", &StandaloneAllocator::record_history)
      .def("statistics", &StandaloneAllocator::statistics)
      .def("snapshot", &StandaloneAllocator::snapshot);
}

}  // namespace torch_remote::python
