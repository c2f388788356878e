# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Section `steps`: time and memory of whole steps of the calibration programs, to judge a model by."""

import gc
import statistics
import time
from functools import partial

import torch

from gpu_measurements.kernels import Kernel, KernelTrace, can_trace_kernels, summarize
from gpu_measurements.programs import PROGRAMS, Step
from gpu_measurements.target import Session

WARM_UP_STEPS = 3
TIMED_STEPS = 10
PROFILED_STEPS = 2
KERNEL_NAMES_LIMIT = 60
LARGEST_SHARE = 0.25


def run(session: Session) -> None:
    reason = (
        can_trace_kernels(session.target.device) if session.target.is_cuda else "no CUDA device"
    )
    if reason:
        session.recorder.skip("durations of kernels", reason)
    for name in [session.argument] if session.argument else PROGRAMS:
        if session.budget.is_spent():
            session.recorder.skip(f"{name} and what follows", "budget spent")
            return
        session.recorder.attempt(name, partial(measure, session, name, not reason))
        gc.collect()
        session.target.release_memory()


def measure(session: Session, name: str, traces_kernels: bool) -> None:
    """Step times with a wait after each, and without; peak memory; the kernels of a step."""
    target = session.target
    start_s = time.perf_counter()
    step = PROGRAMS[name](target.device, session.is_tiny)
    target.synchronize()
    build_s = time.perf_counter() - start_s
    if target.is_cuda:
        torch.cuda.reset_peak_memory_stats()
    limit_s = session.budget.left_s() * LARGEST_SHARE
    warm_up_ms = [time_step(session, step) for _ in range(WARM_UP_STEPS)]
    allowed = int(limit_s * 1000 / max(warm_up_ms[-1], 1e-3) / 2)
    count = min(max(allowed, 2), 2 if session.is_tiny else TIMED_STEPS)
    times_ms = [time_step(session, step) for _ in range(count)]
    start_s = time.perf_counter()
    for _ in range(count):
        step()
    target.synchronize()
    together_ms = (time.perf_counter() - start_s) * 1000 / count
    session.recorder.write(
        "steps",
        program=name,
        build_s=build_s,
        warm_up_ms=warm_up_ms,
        step_ms=times_ms,
        median_ms=statistics.median(times_ms),
        back_to_back_ms=together_ms,
        peak_allocated_bytes=torch.cuda.max_memory_allocated() if target.is_cuda else None,
        peak_reserved_bytes=torch.cuda.max_memory_reserved() if target.is_cuda else None,
    )
    if traces_kernels:
        write_kernels(session, name, step)
    session.recorder.progress(f"{name}: {statistics.median(times_ms):.2f} ms")


def time_step(session: Session, step: Step) -> float:
    session.target.synchronize()
    start_s = time.perf_counter()
    step()
    session.target.synchronize()
    return (time.perf_counter() - start_s) * 1000


def write_kernels(session: Session, name: str, step: Step) -> None:
    """The sum of the kernels' durations in a step, the span, and the names that take the most of it."""
    trace = KernelTrace()
    with trace:
        for _ in range(PROFILED_STEPS):
            step()
            trace.mark("step")
    segments: list[list[Kernel]] = trace.segments()["step"]
    summary = summarize(segments)
    rows = sorted(summary.kernels, key=lambda row: -row[2])[:KERNEL_NAMES_LIMIT]
    session.recorder.write(
        "step_kernels",
        program=name,
        gpu_ms=summary.gpu_us / 1000,
        span_ms=summary.span_us / 1000,
        kernel_count=statistics.median(len(segment) for segment in segments),
        kernels=[[session.recorder.intern(row[0]), row[1], row[2]] for row in rows],
    )
