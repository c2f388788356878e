// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// torch_remote._C: what the Python package needs of the client. No logic lives here; docs and types
// are in _C.pyi.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <torch/csrc/Generator.h>
#include <torch/version.h>
#include <utility>
#include <vector>

#include "core/client/device.h"
#include "core/client/errors.h"
#include "core/client/generator.h"
#include "core/client/hooks.h"
#include "core/client/memory_statistics.h"
#include "core/client/profiler.h"
#include "core/client/recurrent_networks.h"
#include "core/client/streams.h"
#include "core/executor/in_process.h"
#include "core/executor/libtorch/libtorch_executor.h"
#include "core/executor/null_executor.h"
#include "core/executor/running_server.h"
#include "core/session/errors.h"
#include "core/session/session.h"
#include "core/transport/channel.h"
#include "core/transport/endpoint.h"
#include "core/transport/keys.h"
#include "emulator/dry_channel.h"
#include "emulator/emulation.h"
#include "emulator/gpu_model.h"
#include "emulator/own_gpu.h"
#include "emulator/random/cuda_random.h"
#include "emulator/time/network_model.h"
#include "emulator/time/operator_recorder.h"
#include "python/torch_remote/device_names.h"
#include "python/torch_remote/emulated_devices.h"
#include "python/torch_remote/fault_bindings.h"
#include "python/torch_remote/gpu_bindings.h"
#include "python/torch_remote/interpreter.h"
#include "python/torch_remote/memory_bindings.h"
#include "python/torch_remote/profile_bindings.h"
#include "python/torch_remote/time_bindings.h"

namespace py = pybind11;

namespace torch_remote::python {
namespace {

std::uint64_t random_session_id() {
  std::random_device random;
  return (std::uint64_t{random()} << 32 | random()) | 1;  // never 0
}

session::SessionOptions make_options(int index, std::uint32_t thread_count, double timeout_s,
                                     double reconnect_timeout_s) {
  const auto milliseconds = [](double seconds) {
    constexpr double kForeverS = 10 * 365 * 86400.0;
    if (!(seconds > 0)) throw std::invalid_argument("a timeout has to be more than 0 seconds");
    return std::chrono::milliseconds(
        static_cast<std::int64_t>(std::min(seconds, kForeverS) * 1000));
  };
  session::SessionOptions options;
  options.device = static_cast<unsigned>(index);
  options.hello.client_version = TORCH_REMOTE_VERSION;
  options.hello.torch_version = TORCH_VERSION;
  options.hello.thread_count = thread_count;
  options.timeouts = {.connect = milliseconds(timeout_s),
                      .reconnect = milliseconds(reconnect_timeout_s)};
  options.wait_policy = std::make_shared<InterpreterWaitPolicy>();
  return options;
}

// Without an emulation the device gets one where its executor says that it emulates a GPU.
std::unique_ptr<client::Device> make_device(
    int index, std::unique_ptr<session::Session> session, std::shared_ptr<void> executor,
    std::shared_ptr<emulator::Emulation> emulation = nullptr) {
  auto device = std::make_unique<client::Device>(index, std::move(session), std::move(executor));
  attach_emulation(*device, std::move(emulation));
  return device;
}

int add_device(std::unique_ptr<client::Device> device, std::uint64_t seed) {
  const int index = device->index();
  client::register_device(std::move(device));
  client::seed_new_device(index, seed);
  return index;
}

std::unique_ptr<session::Session> make_session(int index,
                                               std::unique_ptr<transport::Channel> channel,
                                               std::uint64_t session_id,
                                               std::uint32_t thread_count) {
  return std::make_unique<session::Session>(std::move(channel), "this process", session_id,
                                            make_options(index, thread_count, 60, 60));
}

std::unique_ptr<client::Device> make_in_process(
    int index, executor::ExecutorFactory factory, std::uint32_t thread_count,
    std::shared_ptr<emulator::Emulation> emulation = nullptr,
    const std::shared_ptr<emulator::FaultPlan>& faults = nullptr) {
  auto executor = std::make_shared<executor::InProcessExecutor>(std::move(factory));
  const std::uint64_t session_id = random_session_id();
  auto session = make_session(
      index,
      with_faults(transport::connect_channel(executor->context(),
                                             executor::InProcessExecutor::endpoint(), session_id),
                  faults),
      session_id, thread_count);
  return make_device(index, std::move(session), std::move(executor), std::move(emulation));
}

executor::ExecutorFactory emulator_factory(const GpuModel& model) {
  executor::LibtorchOptions options;
  options.description = gpu_description(model);
  options.random_source = emulator::cuda_random_source(model);
  options.runs_every_operator = true;  // whoever asks for one could call it here as well
  return executor::libtorch_executor_factory(std::move(options));
}

// The first GPU governs. values is "computed", or in a dry run what becomes of a read: "raise" or
// "zero".
int emulate(const std::vector<GpuModel>& gpus, std::uint32_t thread_count, std::uint64_t seed,
            const std::string& values, bool records_out_of_memory, double round_trip_ms,
            double bandwidth_mbit_per_s, const std::shared_ptr<emulator::FaultPlan>& faults) {
  const emulator::NetworkOptions network{.round_trip_ms = round_trip_ms,
                                         .bandwidth_mbit_per_s = bandwidth_mbit_per_s};
  network.check();
  const client::ReservedIndex index;
  const emulator::Values which = values == "computed" ? emulator::Values::kComputed
                                 : values == "zero"   ? emulator::Values::kZerosAtRead
                                                      : emulator::Values::kRaiseAtRead;
  auto emulation = make_emulation(gpus, which, records_out_of_memory, index.value(), network);
  const GpuModel& governing = gpus.front();
  if (which == emulator::Values::kComputed) {
    auto device = make_in_process(index.value(), emulator_factory(governing), thread_count,
                                  std::move(emulation), faults);
    add_faults(*device, faults);
    return add_device(std::move(device), seed);
  }
  auto channel = with_faults(emulator::make_dry_channel(dry_run_description(governing)), faults);
  auto session = make_session(index.value(), std::move(channel), random_session_id(), thread_count);
  auto device = make_device(index.value(), std::move(session), nullptr, std::move(emulation));
  add_faults(*device, faults);
  return add_device(std::move(device), seed);
}

int null_device(std::uint64_t seed) {
  const client::ReservedIndex index;
  return add_device(make_in_process(index.value(), executor::null_executor_factory(), 0), seed);
}

// A dry run on some GPU, and what remembers the operators that programs run on it, in place of the
// GPU's models.
std::pair<int, std::shared_ptr<emulator::OperatorRecorder>> recording_device(std::uint64_t seed) {
  const client::ReservedIndex index;
  auto session = make_session(index.value(),
                              emulator::make_dry_channel(dry_run_description(gpu_model("H100"))),
                              random_session_id(), 0);
  auto device = make_device(index.value(), std::move(session), nullptr);
  auto recorder = std::make_shared<emulator::OperatorRecorder>();
  device->session().set_observer(recorder);
  return {add_device(std::move(device), seed), std::move(recorder)};
}

// The executors above behind an endpoint, for clients that aren't ours.
std::unique_ptr<executor::RunningServer> serve(const std::string& endpoint,
                                               const std::optional<std::string>& gpu_type) {
  return std::make_unique<executor::RunningServer>(
      gpu_type ? emulator_factory(gpu_model(*gpu_type)) : executor::null_executor_factory(),
      executor::ServerOptions{}, endpoint);
}

// executor_index says which of the executor's devices it becomes.
std::unique_ptr<client::Device> connected_device(int index, const std::string& endpoint,
                                                 std::uint32_t executor_index,
                                                 std::uint32_t thread_count, double timeout_s,
                                                 double reconnect_timeout_s,
                                                 const std::optional<std::string>& server_key,
                                                 const std::optional<std::string>& secret_key) {
  std::optional<transport::ClientKeys> keys;
  if (server_key) {
    keys.emplace(transport::ClientKeys{.own = transport::pair_of(secret_key.value_or("")),
                                       .server_key = *server_key});
  }
  if (transport::check_endpoint(endpoint, /*allow_port_zero=*/false) ==
      transport::Scheme::kInproc) {
    throw std::invalid_argument("endpoint \"" + endpoint +
                                "\": no executor of another process can be reached by inproc; use "
                                "tcp://host:port or ipc://path");
  }
  session::SessionOptions options =
      make_options(index, thread_count, timeout_s, reconnect_timeout_s);
  options.hello.device_index = executor_index;
  const std::uint64_t session_id = random_session_id();
  auto session = std::make_unique<session::Session>(
      transport::connect_channel(std::make_shared<zmq::context_t>(), endpoint, session_id, keys),
      endpoint, session_id, std::move(options));
  return make_device(index, std::move(session), nullptr);
}

int connect(const std::string& endpoint, std::uint32_t device_index, std::uint32_t thread_count,
            std::uint64_t seed, double timeout_s, double reconnect_timeout_s,
            const std::optional<std::string>& server_key,
            const std::optional<std::string>& secret_key) {
  const client::ReservedIndex index;
  return add_device(connected_device(index.value(), endpoint, device_index, thread_count, timeout_s,
                                     reconnect_timeout_s, server_key, secret_key),
                    seed);
}

void connect_pending(int index, const std::string& endpoint, std::uint32_t device_index,
                     std::uint32_t thread_count, std::uint64_t seed, double timeout_s,
                     double reconnect_timeout_s, const std::optional<std::string>& server_key,
                     const std::optional<std::string>& secret_key) {
  client::PendingDevice pending(index);
  pending.become(connected_device(index, endpoint, device_index, thread_count, timeout_s,
                                  reconnect_timeout_s, server_key, secret_key));
  client::seed_new_device(index, seed);
}

// Calls a Python function for the first of the threads that need the device; the others wait
// without the interpreter's lock, which the function may give up.
class PythonStarter {
 public:
  // The function is kept as long as the process: the last of its users may come after Python's end.
  explicit PythonStarter(py::function start) : start_(start.release().ptr()) {}

  void operator()(int index) {
    const bool holds_lock = PyGILState_Check() != 0;
    PyThreadState* left = holds_lock ? PyEval_SaveThread() : nullptr;
    std::unique_lock lock(*mutex_);
    if (left != nullptr) PyEval_RestoreThread(left);
    if (!client::is_pending(index)) return;
    const py::gil_scoped_acquire acquired;
    py::reinterpret_borrow<py::function>(start_)(index);
  }

 private:
  PyObject* start_;
  std::shared_ptr<std::recursive_mutex> mutex_ = std::make_shared<std::recursive_mutex>();
};

// Messages of the failures that nothing ever read.
std::vector<std::string> stop(int index) {
  std::vector<std::string> unseen;
  client::cancel_pending_device(index);
  if (!client::is_running(index)) return unseen;
  const py::gil_scoped_release released;
  for (const protocol::Failure& failure : client::device_at(index).stop()) {
    unseen.push_back(failure.operator_name + ": " + failure.message);
  }
  return unseen;
}

py::dict statistics(int index) {
  const session::SessionStatistics values = client::is_pending(index)
                                                ? session::SessionStatistics{}
                                                : client::device_at(index).session().statistics();
  py::dict result;
  result["operations"] = values.operations;
  result["plans"] = values.plans;
  result["round_trips"] = values.round_trips;
  result["bytes_sent"] = values.bytes_sent;
  result["bytes_received"] = values.bytes_received;
  result["storages"] = values.storages;
  result["allocated_bytes"] = values.allocated_bytes;
  result["allocated_bytes_peak"] = values.allocated_bytes_peak;
  return result;
}

void synchronize(int index) {
  const py::gil_scoped_release released;
  client::with_torch_errors(index, [&] { client::device_at(index).session().synchronize(); });
}

std::map<std::string, std::int64_t> memory_statistics(int index) {
  if (client::is_pending(index)) return {};
  const py::gil_scoped_release released;
  return client::with_torch_errors(
      index, [&] { return client::memory_statistics(client::device_at(index)); });
}

// What the executor itself counts, an allocator or not: the conformance suite holds it against the
// client's counts.
std::map<std::string, std::int64_t> executor_memory_statistics(int index) {
  const py::gil_scoped_release released;
  return client::with_torch_errors(
      index, [&] { return client::device_at(index).session().memory_statistics(); });
}

void reset_accumulated(int index) {
  if (client::is_pending(index)) return;
  const py::gil_scoped_release released;
  client::with_torch_errors(
      index, [&] { client::reset_accumulated_statistics(client::device_at(index)); });
}

void reset_peak(int index) {
  const py::gil_scoped_release released;
  client::device_at(index).session().reset_peak();
}

void empty_cache(int index) {
  const py::gil_scoped_release released;
  client::device_at(index).session().empty_cache();
}

// Numbers of streams; the former is returned.
std::int64_t exchange_stream(int index, std::int64_t stream) {
  const c10::Device device(c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(index));
  return client::exchange_stream(c10::Stream(c10::Stream::UNSAFE, device, stream)).id();
}

py::bytes generator_state(int index) {
  const std::vector<std::byte> state = [&] {
    const py::gil_scoped_release released;
    return client::with_torch_errors(
        index, [&] { return client::device_at(index).session().generator_state(0); });
  }();
  return {reinterpret_cast<const char*>(state.data()), state.size()};
}

void set_generator_state(int index, const std::string& state) {
  const py::gil_scoped_release released;
  client::set_default_generator_state(index, std::as_bytes(std::span(state)));
}

void manual_seed(int index, std::uint64_t seed) {
  const py::gil_scoped_release released;
  client::seed_new_device(index, seed);
}

// The built-in exceptions that a user expects of a bad name or a missing executor.
void translate(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const session::ConnectError& connect_error) {
    PyErr_SetString(PyExc_ConnectionError, connect_error.what());
  }
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  py::register_exception_translator(&translate);
  client::register_hooks();
  client::register_kineto_profiler();
  client::register_profiler_stubs();
  client::source_location_hooks = &interpreter_source_location_hooks();
  module.attr("__version__") = TORCH_REMOTE_VERSION;
  module.attr("torch_version") = TORCH_VERSION;
  module.attr("DEVICE_COUNT_MAX") = client::kDeviceCountMax;
  add_gpu_bindings(module);  // before what takes them
  define_faults(module);     // before what takes them
  module.attr("DEVICE_TYPE") = static_cast<int>(c10::DeviceType::PrivateUse1);
  module.def("emulate", &emulate, py::arg("gpus"), py::arg("num_threads"), py::arg("seed"),
             py::arg("values"), py::arg("records_out_of_memory"), py::arg("round_trip_ms") = 0.0,
             py::arg("bandwidth_mbit_per_s") = 0.0, py::arg("faults") = nullptr);
  define_emulation(module);
  module.def("null_device", &null_device, py::arg("seed"));
  module.def("recording_device", &recording_device, py::arg("seed"));
  py::class_<executor::RunningServer>(module, "RunningServer")
      .def_property_readonly("endpoint", &executor::RunningServer::endpoint)
      .def("end", &executor::RunningServer::end, py::arg("reason"),
           py::call_guard<py::gil_scoped_release>());
  module.def("serve", &serve, py::arg("endpoint"), py::arg("gpu_type"));
  module.def("connect", &connect, py::arg("endpoint"), py::arg("device_index"),
             py::arg("num_threads"), py::arg("seed"), py::arg("timeout_s"),
             py::arg("reconnect_timeout_s"), py::arg("server_key"), py::arg("secret_key"));
  module.def("make_key_pair", [] {
    const transport::KeyPair pair = transport::make_key_pair();
    return std::pair(pair.public_key, pair.secret_key);
  });
  module.def(
      "public_key_of",
      [](const std::string& secret_key) { return transport::pair_of(secret_key).public_key; },
      py::arg("secret_key"));
  module.def("stop", &stop, py::arg("index"));
  module.def(
      "add_pending",
      [](py::function start) {
        return client::add_pending_device(PythonStarter(std::move(start)));
      },
      py::arg("start"));
  module.def("connect_pending", &connect_pending, py::arg("index"), py::arg("endpoint"),
             py::arg("device_index"), py::arg("num_threads"), py::arg("seed"), py::arg("timeout_s"),
             py::arg("reconnect_timeout_s"), py::arg("server_key"), py::arg("secret_key"));
  module.def("is_pending", &client::is_pending, py::arg("index"));
  module.def("is_running", &client::is_running, py::arg("index"));
  module.def("serial", &client::device_serial, py::arg("index"));
  module.def("disown_devices", &client::disown_devices);
  module.def("device_count", &client::device_count);
  module.def("current_device", &client::current_device_index);
  module.def("exchange_device", &client::exchange_device_index, py::arg("index"));
  module.def("statistics", &statistics, py::arg("index"));
  module.def("memory_statistics", &memory_statistics, py::arg("index"));
  module.def("executor_memory_statistics", &executor_memory_statistics, py::arg("index"));
  module.def("reset_peak", &reset_peak, py::arg("index"));
  module.def("reset_accumulated", &reset_accumulated, py::arg("index"));
  module.def("empty_cache", &empty_cache, py::arg("index"));
  module.def("current_stream", &client::current_stream, py::arg("index"));
  module.def("exchange_stream", &exchange_stream, py::arg("index"), py::arg("stream"));
  module.def(
      "executor_device_count",
      [](int index) { return client::device_at(index).session().welcome().device_count; },
      py::arg("index"));
  module.def(
      "description",
      [](int index) {
        return client::is_pending(index) ? std::map<std::string, std::string>{}
                                         : client::device_at(index).session().welcome().description;
      },
      py::arg("index"));
  module.def(
      "has_recurrent_networks",
      [](int index) { return client::has_recurrent_networks(client::device_at(index)); },
      py::arg("index"));
  module.def("synchronize", &synchronize, py::arg("index"));
  module.def("manual_seed", &manual_seed, py::arg("index"), py::arg("seed"));
  module.def(
      "initial_seed", [](int index) { return client::default_generator(index).current_seed(); },
      py::arg("index"));
  module.def(
      "default_generator",
      [](int index) {
        return py::reinterpret_steal<py::object>(
            THPGenerator_Wrap(client::default_generator(index)));
      },
      py::arg("index"));
  module.def("generator_state", &generator_state, py::arg("index"));
  module.def("set_generator_state", &set_generator_state, py::arg("index"), py::arg("state"));
  add_profile_bindings(module);
  add_time_bindings(module);
  add_memory_bindings(module);
  module.def("show_as_cuda", &show_as_cuda, py::arg("indices"));
  module.def("show_as_remote", &show_as_remote);
  module.def("is_remote", &is_remote, py::arg("device"));
  module.def("remote_index", &remote_index, py::arg("device"));
}

}  // namespace torch_remote::python
