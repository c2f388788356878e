// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// ThreadSanitizer can't see into libzmq, so it takes a frame that passed from one thread to another
// through a socket for a race. These two say what ZeroMQ guarantees: what was written before a send
// is visible after the receive. They are nothing in a normal build.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define TORCH_REMOTE_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TORCH_REMOTE_THREAD_SANITIZER
#endif
#endif

#if defined(TORCH_REMOTE_THREAD_SANITIZER)
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace torch_remote::transport {

#if defined(TORCH_REMOTE_THREAD_SANITIZER)
inline char& passing_point() {
  static char point;
  return point;
}
inline void release_to_other_threads() { __tsan_release(&passing_point()); }
inline void acquire_from_other_threads() { __tsan_acquire(&passing_point()); }
#else
inline void release_to_other_threads() {}
inline void acquire_from_other_threads() {}
#endif

}  // namespace torch_remote::transport
