// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Runs a random program on PyTorch's own allocator, over the fake CUDA runtime:
//   pytorch_run SEED                the fingerprint after each step, as binary
//   pytorch_run SEED --statistics   and then all statistics
//   pytorch_run SEED --text         one line a step
// record_runs.py builds it and runs it for all seeds.
#include <c10/core/AllocatorConfig.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/cuda/PeerToPeerAccess.h>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

#include "emulator/allocator/allocator_statistics.h"
#include "emulator/allocator/reference/pytorch/fake_cuda.h"
#include "emulator/allocator/reference/random_program.h"
#include "emulator/allocator/reference/record.h"

// Exported, but in no header of PyTorch's.
namespace c10::cuda::_internal {
void setHasPrimaryContext(bool (*function)(DeviceIndex));
}

namespace {

namespace native = c10::cuda::CUDACachingAllocator;
using namespace torch_remote::emulator;

void copy(const c10::CachingAllocator::Stat& from, Counter& to) {
  to = {
      .current = from.current, .peak = from.peak, .allocated = from.allocated, .freed = from.freed};
}

void copy(const c10::CachingAllocator::StatArray& from, PoolCounter& to) {
  copy(from[0], to.all);
  copy(from[1], to.pools[0]);
  copy(from[2], to.pools[1]);
}

AllocatorStatistics statistics() {
  const auto from = native::getDeviceStats(0);
  AllocatorStatistics to;
  copy(from.allocation, to.allocation);
  copy(from.segment, to.segment);
  copy(from.active, to.active);
  copy(from.inactive_split, to.inactive_split);
  copy(from.allocated_bytes, to.allocated_bytes);
  copy(from.reserved_bytes, to.reserved_bytes);
  copy(from.active_bytes, to.active_bytes);
  copy(from.inactive_split_bytes, to.inactive_split_bytes);
  copy(from.requested_bytes, to.requested_bytes);
  copy(from.oversize_allocations, to.oversize_allocations);
  copy(from.oversize_segments, to.oversize_segments);
  to.num_alloc_retries = from.num_alloc_retries;
  to.num_ooms = from.num_ooms;
  to.num_sync_all_streams = from.num_sync_all_streams;
  to.num_device_alloc = from.num_device_alloc;
  to.num_device_free = from.num_device_free;
  to.num_oom_rejections = from.num_oom_rejections;
  to.max_split_size = from.max_split_size;
  return to;
}

class Run {
 public:
  explicit Run(const reference::Program& program) : program_(program) {
    fake_cuda_set_memory(program.total_bytes, program.used_bytes);
    // What libtorch_cuda.so does when it is loaded.
    c10::cuda::_internal::setHasPrimaryContext([](c10::DeviceIndex) { return true; });
    c10::cuda::detail::init_p2p_access_cache(1);
    // Else it would ask NVML whether the GPU is on a fabric.
    native::CUDAAllocatorConfig::set_expandable_segments_handle_type(
        native::Expandable_Segments_Handle_Type::POSIX_FD);
    native::init(1);
    streams_.push_back(c10::cuda::getDefaultCUDAStream(0));
    while (streams_.size() < program.stream_count)
      streams_.push_back(c10::cuda::getStreamFromPool(false, 0));
  }

  reference::StepResult step(const reference::Step& step) {
    reference::StepResult result;
    const auto& stream = streams_[step.stream];
    switch (step.kind) {
      case reference::StepKind::kAllocate:
        allocate(step, result);
        break;
      case reference::StepKind::kFree:
        if (void*& block = block_of(step.id); block)
          native::raw_delete(std::exchange(block, nullptr));
        break;
      case reference::StepKind::kRecordStream:
        if (void* block = block_of(step.id); block) {
          c10::DataPtr pointer(block, block, native::get()->raw_deleter(),
                               c10::Device(c10::DeviceType::CUDA, 0));
          native::recordStream(pointer, stream);
          (void)pointer.release_context();
        }
        break;
      case reference::StepKind::kAdvance:
        fake_cuda_advance(stream.stream());
        break;
      case reference::StepKind::kSynchronize:
        fake_cuda_advance_all();
        break;
      case reference::StepKind::kEmptyCache:
        native::emptyCache();
        break;
      case reference::StepKind::kResetPeak:
        native::resetPeakStats(0);
        break;
      case reference::StepKind::kResetAccumulated:
        native::resetAccumulatedStats(0);
        break;
      case reference::StepKind::kSetFraction:
        native::setMemoryFraction(
            static_cast<double>(step.size_bytes) / static_cast<double>(program_.total_bytes), 0);
        break;
      case reference::StepKind::kSetSettings:
        c10::CachingAllocator::setAllocatorSettings(program_.other_settings);
        break;
    }
    return result;
  }

 private:
  void allocate(const reference::Step& step, reference::StepResult& result) {
    try {
      void* block = native::raw_alloc_with_stream(step.size_bytes, streams_[step.stream].stream());
      block_of(step.id) = block;
      result.address = reinterpret_cast<std::uint64_t>(block);
    } catch (const c10::OutOfMemoryError& error) {
      result.error = error.what_without_backtrace();
    }
  }

  void*& block_of(std::uint32_t id) {
    if (id >= blocks_.size()) blocks_.resize(id + 1);
    return blocks_[id];
  }

  const reference::Program& program_;
  std::vector<c10::cuda::CUDAStream> streams_;
  std::vector<void*> blocks_;
};

template <typename Number>
void write(Number number) {
  std::fwrite(&number, sizeof(number), 1, stdout);
}

void run(const reference::Program& program, std::string_view mode) {
  const bool as_text = mode == "--text";
  Run run(program);
  for (std::size_t number = 0; number < program.steps.size(); ++number) {
    const reference::StepResult result = run.step(program.steps[number]);
    if (as_text) {
      std::printf("%zu %s\n", number, reference::describe(statistics(), result).c_str());
    } else {
      write(reference::fingerprint(statistics(), result));
    }
  }
  if (mode == "--statistics")
    for (const std::int64_t number : reference::numbers_of(statistics())) write(number);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const reference::Program program = reference::random_program(std::strtoull(argv[1], nullptr, 10));
  // PyTorch reads the settings while its libraries are loaded.
  const char* settings = std::getenv("PYTORCH_CUDA_ALLOC_CONF");
  if (settings == nullptr || settings != program.settings) {
    setenv("PYTORCH_CUDA_ALLOC_CONF", program.settings.c_str(), 1);
    setenv("PYTORCH_ALLOC_CONF", program.settings.c_str(), 1);
    execv("/proc/self/exe", argv);
    return 1;
  }
  try {
    run(program, argc > 2 ? argv[2] : "");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "seed %s, \"%s\": %s\n", argv[1], program.settings.c_str(), error.what());
    return 1;
  }
  std::fflush(stdout);
  // PyTorch's own end waits for devices that aren't there.
  std::_Exit(0);
}
