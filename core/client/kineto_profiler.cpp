// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The trace of remote devices for torch.profiler, through the interface that Kineto has for the
// profilers of other devices.
#include "core/client/profiler.h"

#if __has_include(<libkineto.h>)
#ifndef USE_KINETO
#define USE_KINETO  // a torch without Kineto has no such header
#endif
#if __has_include(<torch/csrc/profiler/standalone/privateuse1_profiler.h>)
#define TORCH_REMOTE_HAS_PROFILER_REGISTRY
#include <torch/csrc/profiler/standalone/privateuse1_profiler.h>
#endif
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <libkineto.h>
#include <map>
#include <memory>
#include <output_base.h>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/client/device.h"
#include "core/client/recording.h"
#include "core/client/source_location.h"

namespace torch_remote::client {
namespace {

using libkineto::ActivityType;
using libkineto::GenericTraceActivity;

ActivityType type_of(const RecordedOperation& operation) {
  return operation.kind == RecordedOperation::Kind::kOperator ? ActivityType::CONCURRENT_KERNEL
                                                              : ActivityType::GPU_MEMCPY;
}

// As a value within the trace's JSON.
std::string escaped(const std::string& text) {
  std::string result;
  for (const char character : text) {
    if (character == '"' || character == '\\') result += '\\';
    result += static_cast<unsigned char>(character) < ' ' ? ' ' : character;
  }
  return result;
}

// One profile. Kineto calls it from the thread that profiles, but for the correlations.
class TraceSession final : public libkineto::IActivityProfilerSession {
 public:
  explicit TraceSession(std::set<ActivityType> types) : types_(std::move(types)) {}
  ~TraceSession() override {
    if (recording_ != nullptr) end_recording(recording_);
  }

  void start() override {
    recording_ = std::make_shared<Recording>();
    is_recorded_ = begin_recording(recording_);
    status_ = libkineto::TraceStatus::RECORDING;
  }

  void stop() override {
    end_recording(recording_);
    operations_ = recording_->finish();
    status_ = libkineto::TraceStatus::PROCESSING;
  }

  std::vector<std::string> errors() override {
    if (!is_recorded_) return {"remote devices have another profile taken, torch_remote.profile()"};
    return recording_ == nullptr ? std::vector<std::string>() : recording_->errors();
  }

  void processTrace(libkineto::ActivityLogger& logger) override {
    processTrace(logger, [](std::int32_t) { return nullptr; }, 0, 0);
  }

  void processTrace(libkineto::ActivityLogger& logger,
                    libkineto::getLinkedActivityCallback linked_activity, std::int64_t start_time,
                    std::int64_t end_time) override {
    trace_ = std::make_unique<libkineto::CpuTraceBuffer>();
    trace_->span = libkineto::TraceSpan(start_time, end_time, "remote");
    trace_->gpuOpCount = 0;
    for (const RecordedOperation& operation : operations_) {
      if (types_.contains(type_of(operation))) add(operation, linked_activity);
    }
    if (types_.contains(ActivityType::GPU_USER_ANNOTATION)) add_annotations(linked_activity);
    for (const auto& activity : trace_->activities) activity->log(logger);
    name_rows(logger, start_time);
  }

  // The rows are named above, since there may be several devices.
  std::unique_ptr<libkineto::DeviceInfo> getDeviceInfo() override { return nullptr; }
  std::vector<libkineto::ResourceInfo> getResourceInfos() override { return {}; }

  std::unique_ptr<libkineto::CpuTraceBuffer> getTraceBuffer() override { return std::move(trace_); }

  void pushCorrelationId(std::uint64_t id) override { push_correlation(id); }
  void popCorrelationId() override { pop_correlation(); }
  void pushUserCorrelationId(std::uint64_t id) override { push_annotation(id); }
  void popUserCorrelationId() override { pop_annotation(); }

 private:
  using Linked = libkineto::getLinkedActivityCallback;

  GenericTraceActivity& add(ActivityType type, const std::string& name,
                            const RecordedOperation& operation) {
    trace_->emplace_activity(trace_->span, type, name);
    GenericTraceActivity& activity = *trace_->activities.back();
    activity.device = operation.device_index;
    activity.resource = static_cast<std::int32_t>(operation.stream);
    activity.startTime = operation.start_ns;
    activity.endTime = operation.end_ns;
    rows_.emplace(operation.device_index, operation.stream);
    return activity;
  }

  void add(const RecordedOperation& operation, const Linked& linked_activity) {
    GenericTraceActivity& activity = add(type_of(operation), operation.name, operation);
    activity.id = static_cast<std::int32_t>(operation.correlation);
    activity.linked = linked_activity(activity.id);
    activity.addMetadata("stream", operation.stream);
    if (operation.size_bytes > 0) activity.addMetadata("bytes", operation.size_bytes);
    const std::string location = describe_source_location(operation.location);
    if (!location.empty()) activity.addMetadataQuoted("called at", escaped(location));
    ++trace_->gpuOpCount;
  }

  // record_function's ranges: from the first operation within one to the last, on each stream.
  void add_annotations(const Linked& linked_activity) {
    using Row = std::tuple<std::uint64_t, int, std::uint32_t>;
    std::map<Row, RecordedOperation> ranges;
    for (const RecordedOperation& operation : operations_) {
      if (operation.annotation == 0) continue;
      const Row row{operation.annotation, operation.device_index, operation.stream};
      RecordedOperation& range = ranges.try_emplace(row, operation).first->second;
      range.start_ns = std::min(range.start_ns, operation.start_ns);
      range.end_ns = std::max(range.end_ns, operation.end_ns);
    }
    for (const auto& [row, range] : ranges) {
      const auto id = static_cast<std::int32_t>(range.annotation);
      const libkineto::ITraceActivity* annotation = linked_activity(id);
      if (annotation == nullptr) continue;
      add(ActivityType::GPU_USER_ANNOTATION, annotation->name(), range).id = id;
    }
  }

  void name_rows(libkineto::ActivityLogger& logger, std::int64_t time) {
    int named_device = -1;
    for (const auto& [device, stream] : rows_) {
      if (device != named_device) {
        const std::string name = "remote:" + std::to_string(device);
        logger.handleDeviceInfo({device, libkineto::kExceedMaxPid + device, name, name}, time);
        named_device = device;
      }
      const std::string name = "stream " + std::to_string(stream);
      logger.handleResourceInfo({stream, stream, device, name}, time);
    }
  }

  std::set<ActivityType> types_;
  std::shared_ptr<Recording> recording_;
  bool is_recorded_ = true;
  std::vector<RecordedOperation> operations_;
  std::set<std::pair<int, std::uint32_t>> rows_;  // devices and their streams
  std::unique_ptr<libkineto::CpuTraceBuffer> trace_;
};

class Profiler final : public libkineto::IActivityProfiler {
 public:
  const std::string& name() const override { return name_; }
  const std::set<ActivityType>& availableActivities() const override { return types_; }

  std::unique_ptr<libkineto::IActivityProfilerSession> configure(
      const std::set<ActivityType>& wanted, const libkineto::Config& /*config*/) override {
    std::set<ActivityType> types;
    std::ranges::set_intersection(types_, wanted, std::inserter(types, types.end()));
    return types.empty() ? nullptr : std::make_unique<TraceSession>(std::move(types));
  }
  std::unique_ptr<libkineto::IActivityProfilerSession> configure(
      std::int64_t /*start_ms*/, std::int64_t /*duration_ms*/, const std::set<ActivityType>& wanted,
      const libkineto::Config& config) override {
    return configure(wanted, config);
  }

 private:
  const std::string name_ = "remote";
  const std::set<ActivityType> types_{ActivityType::CONCURRENT_KERNEL, ActivityType::GPU_MEMCPY,
                                      ActivityType::GPU_USER_ANNOTATION};
};

}  // namespace

void register_kineto_profiler() {
  const auto make = [] { return std::make_unique<Profiler>(); };
#ifdef TORCH_REMOTE_HAS_PROFILER_REGISTRY
  torch::profiler::impl::PrivateUse1ProfilerRegistry::instance().registerFactory(make);
#else
  libkineto::api().registerProfilerFactory(make);  // which is what later versions do
#endif
}

}  // namespace torch_remote::client

#else

namespace torch_remote::client {

// There PyTorch takes the stubs' marks for torch.profiler as well.
void register_kineto_profiler() {}

}  // namespace torch_remote::client

#endif
