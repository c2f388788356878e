// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The functions of CUDA's runtime that libc10_cuda.so is linked with, and that its allocator
// doesn't call. They are here for the linker. CUDA's headers must not be included: the arguments
// don't matter.
#include <cstdio>
#include <cstdlib>

#define NEVER_CALLED(name)                                            \
  extern "C" int name() {                                             \
    std::fprintf(stderr, "the fake CUDA runtime has no %s\n", #name); \
    std::abort();                                                     \
  }

NEVER_CALLED(cudaDeviceCanAccessPeer)
NEVER_CALLED(cudaDeviceEnablePeerAccess)
NEVER_CALLED(cudaDeviceGetDefaultMemPool)
NEVER_CALLED(cudaDeviceGetGraphMemAttribute)
NEVER_CALLED(cudaDeviceSetGraphMemAttribute)
NEVER_CALLED(cudaEventElapsedTime)
NEVER_CALLED(cudaFreeAsync)
NEVER_CALLED(cudaGraphNodeGetDependencies)
NEVER_CALLED(cudaIpcCloseMemHandle)
NEVER_CALLED(cudaIpcGetMemHandle)
NEVER_CALLED(cudaIpcOpenMemHandle)
NEVER_CALLED(cudaMallocAsync)
NEVER_CALLED(cudaMemPoolGetAttribute)
NEVER_CALLED(cudaMemPoolSetAccess)
NEVER_CALLED(cudaMemPoolSetAttribute)
NEVER_CALLED(cudaMemPoolTrimTo)
NEVER_CALLED(cudaMemcpy)
NEVER_CALLED(cudaMemcpyAsync)
NEVER_CALLED(cudaMemcpyPeerAsync)
