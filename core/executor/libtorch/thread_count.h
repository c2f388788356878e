// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Intra-op threads of one session: the number changes the bits of reductions, so it goes with the
// session and not with the process.
#pragma once

#include <cstdint>

namespace torch_remote::executor::libtorch {

// Kernels that the calling thread runs use so many threads from now on, the process' default for 0;
// those of other threads, the user's in an in-process executor, keep theirs. Throws ExecutorError
// for a number out of reason.
void set_thread_count_of_this_thread(std::uint32_t thread_count);

}  // namespace torch_remote::executor::libtorch
