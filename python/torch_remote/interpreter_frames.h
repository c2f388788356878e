/* Copyright (C) 2026 the torch-remote authors
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The interpreter's frames of the calling thread, read without its lock and without making frame
 * objects: PyTorch has released the lock when an operator runs, and taking it back for every
 * operator would cost more than the operator. A thread that is inside a call from Python does not
 * change its own frames, and nobody else may. */
#pragma once

#include <Python.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Returns 0 to end the walk. instruction is a byte offset for PyCode_Addr2Line. */
typedef int (*torch_remote_frame_visitor)(void* context, PyCodeObject* code, int instruction);

/* Visits the frames of state, the calling thread's, from the innermost outwards. On versions of
 * CPython whose frames are not known here it takes the lock and asks for frame objects. */
void torch_remote_walk_frames(PyThreadState* state, torch_remote_frame_visitor visit,
                              void* context);

#ifdef __cplusplus
}
#endif
