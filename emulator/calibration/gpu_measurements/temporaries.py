# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Section `temporaries`: memory that operators take for the time of the call, beyond their results.

Every call of temporary_cases.py and temporary_module_cases.py runs twice, in the same process. A
record of kind "temporary" has, for each run, the allocator's events during it (bytes requested;
negative where freed), the peak above the larger of the memory before and after, and what stayed.
"""

import gc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from gpu_measurements import temporary_cases, temporary_module_cases
from gpu_measurements.calls import Case
from gpu_measurements.target import Session, memory_trace, recorded_memory_history

EVENTS_LIMIT = 600

Family = Callable[[torch.device, bool], Iterator[Case]]
# Those of most value first.
FAMILIES: tuple[Family, ...] = (
    temporary_cases.matrix_cases,
    temporary_cases.convolution_cases,
    temporary_cases.attention_cases,
    temporary_cases.sorting_cases,
    temporary_cases.indexing_cases,
    temporary_cases.reduction_cases,
    temporary_module_cases.backward_cases,
    temporary_module_cases.optimizer_cases,
    temporary_module_cases.linear_algebra_cases,
)


def run(session: Session) -> None:
    if not session.target.is_cuda:
        session.recorder.skip("memory of temporaries", "no CUDA device")
    torch.backends.cudnn.benchmark = False
    for family in FAMILIES:
        # Outside of its cases, too, a family may fail without cost to the others.
        session.recorder.attempt(family.__name__, partial(run_family, session, family))


def run_family(session: Session, family: Family) -> None:
    count = 0
    for name, parameters, make in family(session.target.device, session.is_tiny):
        if session.budget.is_spent():
            session.recorder.skip(f"{name} {parameters} and what follows", "budget spent")
            return
        session.recorder.attempt(
            f"{name} {parameters}", partial(measure, session, name, parameters, make)
        )
        count += 1
    gc.collect()
    session.target.release_memory()
    session.recorder.progress(f"{family.__name__}: {count} calls")


def measure(
    session: Session,
    name: str,
    parameters: dict[str, Any],
    make: Callable[[], Callable[[], object]],
) -> None:
    call = make()
    runs = []
    for _ in range(2):
        if session.target.is_cuda:
            runs.append(measured_run(session, call))
        else:
            call()
    session.recorder.write("temporary", name=name, parameters=parameters, runs=runs)


def measured_run(session: Session, call: Callable[[], object]) -> dict[str, Any]:
    """One call's events and peaks; its results are dropped after the counting."""
    torch.cuda.synchronize()
    with recorded_memory_history():
        events_before = len(memory_trace(session.target.device))
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        result = call()
        torch.cuda.synchronize()
        after = torch.cuda.memory_allocated()
        peak = torch.cuda.max_memory_allocated()
        trace = memory_trace(session.target.device)[events_before:]
    del result
    events = signed_sizes(trace)
    return {
        "peak_above_bytes": peak - max(before, after),
        "stays_bytes": after - before,
        "events": events[:EVENTS_LIMIT],
        **({"event_count": len(events)} if len(events) > EVENTS_LIMIT else {}),
    }


def signed_sizes(trace: list[dict[str, Any]]) -> list[int]:
    """Requested bytes of each allocation, and minus them of each completed free, in order."""
    signs = {"alloc": 1, "free_completed": -1}
    return [
        signs[entry["action"]] * int(entry["size"]) for entry in trace if entry["action"] in signs
    ]
