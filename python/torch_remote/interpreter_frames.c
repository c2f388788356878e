/* Copyright (C) 2026 the torch-remote authors
 * SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * In C, since CPython's internal headers are no C++. */
#define Py_BUILD_CORE 1
#include "python/torch_remote/interpreter_frames.h"

#include <frameobject.h>

#if PY_VERSION_HEX < 0x030B0000

void torch_remote_walk_frames(PyThreadState* state, torch_remote_frame_visitor visit, void* context) {
  for (PyFrameObject* frame = state->frame; frame != NULL; frame = frame->f_back) {
    if (!visit(context, frame->f_code, frame->f_lasti * (int)sizeof(_Py_CODEUNIT))) return;
  }
}

#elif PY_VERSION_HEX < 0x030E0000

#include <internal/pycore_frame.h>

void torch_remote_walk_frames(PyThreadState* state, torch_remote_frame_visitor visit, void* context) {
#if PY_VERSION_HEX < 0x030D0000
  _PyInterpreterFrame* frame = state->cframe->current_frame;
#else
  _PyInterpreterFrame* frame = state->current_frame;
#endif
  for (; frame != NULL; frame = frame->previous) {
    if (_PyFrame_IsIncomplete(frame)) continue;
#if PY_VERSION_HEX < 0x030D0000
    PyCodeObject* code = frame->f_code;
#else
    PyCodeObject* code = _PyFrame_GetCode(frame);
#endif
    const int instruction = _PyInterpreterFrame_LASTI(frame) * (int)sizeof(_Py_CODEUNIT);
    if (!visit(context, code, instruction)) return;
  }
}

#else

void torch_remote_walk_frames(PyThreadState* state, torch_remote_frame_visitor visit, void* context) {
  const PyGILState_STATE held = PyGILState_Ensure();
  PyFrameObject* frame = PyThreadState_GetFrame(state);
  int go_on = 1;
  while (frame != NULL && go_on) {
    PyCodeObject* code = PyFrame_GetCode(frame);
    go_on = visit(context, code, PyFrame_GetLasti(frame));
    Py_DECREF(code);
    PyFrameObject* back = PyFrame_GetBack(frame);
    Py_DECREF(frame);
    frame = back;
  }
  Py_XDECREF(frame);
  PyGILState_Release(held);
}

#endif
