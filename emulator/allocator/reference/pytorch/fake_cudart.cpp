// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// libcudart.so.13 for PyTorch's libc10_cuda.so on a machine without a GPU: one device whose memory
// is bookkeeping in pages of 2 MiB, and streams that are done when they are told so. What PyTorch's
// allocator doesn't call ends the process and says so.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "emulator/allocator/device_memory.h"
#include "emulator/allocator/reference/pytorch/fake_cuda.h"

struct CUstream_st {
  std::uint64_t given = 0;
  std::uint64_t done = 0;
};
struct CUevent_st {
  CUstream_st* stream = nullptr;
  std::uint64_t place = 0;
};

namespace {

using torch_remote::emulator::DeviceMemory;

struct Device {
  DeviceMemory memory{0, 0};
  CUstream_st default_stream;
  // In one array, so that their addresses are in the order of their creation.
  std::vector<CUstream_st> streams = std::vector<CUstream_st>(256);
  std::size_t stream_count = 0;
  cudaError_t last_error = cudaSuccess;
};

Device& device() {
  static Device device;
  return device;
}

CUstream_st& stream_of(cudaStream_t stream) { return stream ? *stream : device().default_stream; }

void finish(CUstream_st& stream) { stream.done = stream.given; }

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) device().last_error = error;
  return error;
}

[[noreturn]] void unexpected(const char* name) {
  std::fprintf(stderr, "the fake CUDA runtime has no %s\n", name);
  std::abort();
}

// The driver's calls, which expandable segments need.
CUresult fake_address_reserve(CUdeviceptr* address, std::size_t size, std::size_t, CUdeviceptr,
                              unsigned long long) {
  *address = device().memory.reserve_addresses(size);
  return CUDA_SUCCESS;
}
CUresult fake_address_free(CUdeviceptr address, std::size_t) {
  device().memory.free_addresses(address);
  return CUDA_SUCCESS;
}
// A handle is the size of its memory.
CUresult fake_create(CUmemGenericAllocationHandle* handle, std::size_t size,
                     const CUmemAllocationProp*, unsigned long long) {
  if (!device().memory.map(size)) return CUDA_ERROR_OUT_OF_MEMORY;
  *handle = size;
  return CUDA_SUCCESS;
}
CUresult fake_release(CUmemGenericAllocationHandle handle) {
  device().memory.unmap(handle);
  return CUDA_SUCCESS;
}
CUresult fake_map(CUdeviceptr, std::size_t, std::size_t, CUmemGenericAllocationHandle,
                  unsigned long long) {
  return CUDA_SUCCESS;
}
CUresult fake_unmap(CUdeviceptr, std::size_t) { return CUDA_SUCCESS; }
CUresult fake_set_access(CUdeviceptr, std::size_t, const CUmemAccessDesc*, std::size_t) {
  return CUDA_SUCCESS;
}
CUresult fake_granularity(std::size_t* granularity, const CUmemAllocationProp*,
                          CUmemAllocationGranularity_flags) {
  *granularity = torch_remote::emulator::kDevicePageBytes;
  return CUDA_SUCCESS;
}
CUresult fake_device_get(CUdevice* number, int ordinal) {
  *number = ordinal;
  return CUDA_SUCCESS;
}
CUresult fake_device_attribute(int* value, CUdevice_attribute attribute, CUdevice) {
  *value = attribute == CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED ||
                   attribute == CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED
               ? 1
               : 0;
  return CUDA_SUCCESS;
}
CUresult fake_error_string(CUresult, const char** text) {
  *text = "an error of the fake CUDA driver";
  return CUDA_SUCCESS;
}
// The driver would say more about its errors; there is nothing to say.
CUresult fake_logs_register(void*, void*, void*) { return CUDA_SUCCESS; }
CUresult fake_other() { unexpected("such call of the driver"); }

template <typename Function>
void* address_of(Function* function) {
  return reinterpret_cast<void*>(function);
}

void* driver_call(std::string_view name) {
  if (name == "cuMemAddressReserve") return address_of(fake_address_reserve);
  if (name == "cuMemAddressFree") return address_of(fake_address_free);
  if (name == "cuMemCreate") return address_of(fake_create);
  if (name == "cuMemRelease") return address_of(fake_release);
  if (name == "cuMemMap") return address_of(fake_map);
  if (name == "cuMemUnmap") return address_of(fake_unmap);
  if (name == "cuMemSetAccess") return address_of(fake_set_access);
  if (name == "cuMemGetAllocationGranularity") return address_of(fake_granularity);
  if (name == "cuDeviceGet") return address_of(fake_device_get);
  if (name == "cuDeviceGetAttribute") return address_of(fake_device_attribute);
  if (name == "cuGetErrorString") return address_of(fake_error_string);
  if (name == "cuLogsRegisterCallback") return address_of(fake_logs_register);
  return address_of(fake_other);
}

}  // namespace

extern "C" {

void fake_cuda_set_memory(std::uint64_t total_bytes, std::uint64_t used_bytes) {
  device().memory = DeviceMemory(total_bytes, used_bytes);
}
void fake_cuda_advance(void* stream) { finish(stream_of(static_cast<cudaStream_t>(stream))); }
void fake_cuda_advance_all() {
  finish(device().default_stream);
  for (CUstream_st& stream : device().streams) finish(stream);
}

cudaError_t cudaGetDevice(int* number) {
  *number = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::memset(properties, 0, sizeof(*properties));
  std::strcpy(properties->name, "fake");
  properties->totalGlobalMem = device().memory.total_bytes();
  properties->major = 9;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  const cudaError_t error = device().last_error;
  device().last_error = cudaSuccess;
  return error;
}
const char* cudaGetErrorString(cudaError_t) { return "an error of the fake CUDA runtime"; }
const char* cudaGetErrorName(cudaError_t) { return "cudaErrorFake"; }
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned int,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* status) {
  *function = driver_call(name);
  if (status) *status = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** pointer, std::size_t size) {
  const std::optional<std::uint64_t> address = device().memory.allocate(size);
  if (!address) return result(cudaErrorMemoryAllocation);
  *pointer = reinterpret_cast<void*>(*address);
  return cudaSuccess;
}
cudaError_t cudaFree(void* pointer) {
  fake_cuda_advance_all();
  if (pointer) device().memory.free(reinterpret_cast<std::uint64_t>(pointer));
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *free_bytes = device().memory.free_bytes();
  *total_bytes = device().memory.total_bytes();
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  fake_cuda_advance_all();
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -1;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned int, int) {
  *stream = &device().streams.at(device().stream_count++);
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const CUstream_st& asked = stream_of(stream);
  return asked.done == asked.given ? cudaSuccess : result(cudaErrorNotReady);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  finish(stream_of(stream));
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned int) { return cudaSuccess; }
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t, cudaStreamCaptureStatus* status,
                                     unsigned long long*, cudaGraph_t*, const cudaGraphNode_t**,
                                     const cudaGraphEdgeData**, std::size_t*) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int) {
  *event = std::make_unique<CUevent_st>().release();
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  std::unique_ptr<CUevent_st>{event};
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->stream = &stream_of(stream);
  event->place = ++event->stream->given;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const bool is_done = event->place <= event->stream->done;
  return is_done ? cudaSuccess : result(cudaErrorNotReady);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->place > event->stream->done) event->stream->done = event->place;
  return cudaSuccess;
}
}
