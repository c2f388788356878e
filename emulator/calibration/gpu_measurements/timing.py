# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Measures lists of calls: kernels by CUPTI, time between events on the GPU, and the host's time."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from gpu_measurements.calls import Call
from gpu_measurements.kernels import KernelTrace, can_trace_kernels, summarize, time_on_host
from gpu_measurements.recording import Budget
from gpu_measurements.target import Session

TIME_PER_ITEM_S = 0.02
REPEATS = (3, 20)
PROFILED_REPEATS = (2, 10)
CHUNK_ITEMS = 64
CHUNK_SHARE_OF_MEMORY = 0.15


@dataclass(frozen=True)
class Item:
    """One call to measure. `make` makes its tensors and returns it; `parameters` go to the record.

    A cold item is measured with its inputs out of the L2 cache, by CUPTI alone.
    """

    name: str
    parameters: dict[str, Any]
    make: Callable[[], Call]
    is_cold: bool = False


@dataclass
class Measured:
    """An item in the making: its call, and what the pass without a profiler has found."""

    item: Item
    call: Call
    fields: dict[str, Any] = field(default_factory=dict)
    repeats: int = 1


class Timer:
    """Measures items for one section. The profiler is probed once, at construction."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._recorder = session.recorder
        self._target = session.target
        reason = (
            can_trace_kernels(session.target.device) if session.target.is_cuda else "no CUDA device"
        )
        self._traces_kernels = not reason
        self._flush = torch.empty(0)
        if reason:
            session.recorder.skip("durations of kernels", reason)
        else:
            size = 2 * session.target.l2_cache_bytes()
            self._flush = torch.empty(size // 4, device=session.target.device)

    def measure(self, group: str, items: Iterable[Item], budget: Budget) -> None:
        """Measure the items of a group until `budget` is spent, writing a record of kind "time" for each."""
        chunk: list[Measured] = []
        base_bytes = self._target.allocated_bytes()
        chunk_bytes = self._target.total_bytes() * CHUNK_SHARE_OF_MEMORY
        done = 0
        iterator = iter(items)
        while True:
            # A list of items may fail half-way; what it gave until then counts.
            item = self._recorder.attempt(f"{group}: the next item", partial(next, iterator, None))
            if item is None:
                break
            if budget.is_spent() or self._session.budget.is_spent():
                self._recorder.skip(f"{group}: {item.name} and what follows", "budget spent")
                break
            label = f"{group} {item.name} {item.parameters}"
            measured = self._recorder.attempt(label, partial(self._time, item))
            if measured is None:
                self._target.release_memory()
                continue
            chunk.append(measured)
            done += 1
            if (
                len(chunk) == CHUNK_ITEMS
                or self._target.allocated_bytes() - base_bytes > chunk_bytes
            ):
                self._finish(group, chunk)
                chunk = []
        self._finish(group, chunk)
        self._recorder.progress(f"{group}: {done} items")

    def _time(self, item: Item) -> Measured:
        """Warm the call up, and time it by events and on the host."""
        measured = Measured(item, item.make())
        call = measured.call
        call()
        self._target.synchronize()
        start_s = time.perf_counter()
        call()
        self._target.synchronize()
        once_s = max(time.perf_counter() - start_s, 1e-7)
        measured.repeats = min(max(int(TIME_PER_ITEM_S / once_s), REPEATS[0]), REPEATS[1])
        if item.is_cold:
            return measured
        if self._target.is_cuda:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            host_s = time_on_host(call, measured.repeats, time.perf_counter)
            end.record()
            end.synchronize()
            call_us = begin.elapsed_time(end) * 1000 / measured.repeats
        else:
            host_s = time_on_host(call, measured.repeats, time.perf_counter)
            call_us = host_s * 1e6 / measured.repeats
        measured.fields = {"call_us": call_us, "host_us": host_s * 1e6 / measured.repeats}
        return measured

    def _finish(self, group: str, chunk: list[Measured]) -> None:
        """Profile the calls of a chunk, write its records, and let its tensors go."""
        if self._traces_kernels and chunk:
            self._recorder.attempt(f"{group}: profile", lambda: self._profile(chunk))
        for measured in chunk:
            item = measured.item
            fields = {"cold": True} if item.is_cold else {}
            self._recorder.write(
                "time",
                group=group,
                name=item.name,
                parameters=item.parameters,
                repeats=measured.repeats,
                **fields,
                **measured.fields,
            )
        chunk.clear()

    def _profile(self, chunk: list[Measured]) -> None:
        trace = KernelTrace()
        with trace:
            for number, measured in enumerate(chunk):
                repeats = min(max(measured.repeats, PROFILED_REPEATS[0]), PROFILED_REPEATS[1])
                measured.call()
                trace.mark(None)
                for _ in range(repeats):
                    if measured.item.is_cold:
                        self._flush.zero_()
                        trace.mark(None)
                    measured.call()
                    trace.mark(number)
        for number, segments in trace.segments().items():
            summary = summarize(segments)
            chunk[number].fields.update(
                kernels=[
                    [self._recorder.intern(name), count, duration_us]
                    for name, count, duration_us in summary.kernels
                ],
                gpu_us=summary.gpu_us,
                span_us=summary.span_us,
            )
