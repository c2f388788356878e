# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Section `memory`: the allocator's events and counters while a calibration program runs three steps.

Each program runs in a process of its own. The events are what an allocator model can be replayed
with, one by one; see CompactTrace for how they are written.
"""

import time
from collections.abc import Iterable
from typing import Any

import torch

from gpu_measurements.programs import PROGRAMS
from gpu_measurements.target import Session, memory_trace, recorded_memory_history

STEPS = 3
EVENTS_A_RECORD = 4000
CODES = {
    "alloc": "a",
    "free_requested": "f",
    "free_completed": "c",
    "segment_alloc": "A",
    "segment_free": "F",
    "segment_map": "M",
    "segment_unmap": "U",
    "oom": "o",
    "snapshot": "s",
    "workspace_snapshot": "s",
}


class CompactTrace:
    """Turns the allocator's events into short lists, with segments and allocations by number.

    ["A", bytes, stream]            a segment was had from the device; numbered from 0 in order
    ["F", segment]                  a segment was given back
    ["M" or "U", bytes, stream, address]   pages of an expandable segment were mapped, or unmapped
    ["a", bytes, stream, segment, offset]  an allocation of so many requested bytes; numbered from 0
    ["f", allocation]               its free was requested
    ["c", allocation]               its free was completed: the memory can be used again
    ["x", allocation]               both in one, the usual case
    ["o", bytes]                    out of memory
    ["s"]                           a snapshot was taken: the end of the set-up, and of each step

    Streams are numbered in order of appearance. In place of segment and offset, an address that lies in no
    known segment gives -1 and its distance from the first address seen; so does M's and U's.
    """

    def __init__(self) -> None:
        self.events: list[list[Any]] = []
        self._segments: list[tuple[int, int]] = []
        self._live_segments: dict[int, int] = {}
        self._allocations: dict[int, int] = {}
        self._allocation_count = 0
        self._streams: dict[int, int] = {}
        self._origin: int | None = None

    def add_all(self, entries: Iterable[dict[str, Any]]) -> None:
        for entry in entries:
            self._add(entry)

    def _add(self, entry: dict[str, Any]) -> None:
        code = CODES.get(entry["action"], entry["action"])
        address = int(entry.get("addr", entry.get("address", 0)) or 0)
        size = int(entry.get("size", 0))
        if self._origin is None and address:
            self._origin = address
        if code == "A":
            self._live_segments[address] = len(self._segments)
            self._segments.append((address, size))
            self.events.append(["A", size, self._stream(entry)])
        elif code == "F":
            self.events.append(["F", self._live_segments.pop(address, -1)])
        elif code == "a":
            self._allocations[address] = self._allocation_count
            self._allocation_count += 1
            self.events.append(["a", size, self._stream(entry), *self._place(address)])
        elif code == "f":
            self.events.append(["f", self._allocations.get(address, -1)])
        elif code == "c":
            allocation = self._allocations.pop(address, -1)
            if self.events and self.events[-1] == ["f", allocation]:
                self.events[-1] = ["x", allocation]
            else:
                self.events.append(["c", allocation])
        elif code in ("M", "U"):
            self.events.append([code, size, self._stream(entry), address - (self._origin or 0)])
        elif code == "o":
            self.events.append(["o", size])
        else:
            self.events.append([code])

    def _stream(self, entry: dict[str, Any]) -> int:
        return self._streams.setdefault(int(entry.get("stream", 0)), len(self._streams))

    def _place(self, address: int) -> tuple[int, int]:
        for base, number in self._live_segments.items():
            if base <= address < base + self._segments[number][1]:
                return number, address - base
        return -1, address - (self._origin or 0)


def run(session: Session) -> None:
    """Run the program that the session's argument names."""
    build = PROGRAMS[session.argument]
    if not session.target.is_cuda:
        step = build(session.target.device, session.is_tiny)
        session.recorder.write("step", step=0, result=step())
        session.recorder.skip("events and counters of the allocator", "no CUDA device")
        return
    if torch.cuda.memory_reserved() != 0:
        session.recorder.skip("an empty allocator", "memory was reserved before the program began")
    with recorded_memory_history():
        step = build(session.target.device, session.is_tiny)
        write_counters(session, "set-up", {})
        torch.cuda.memory._snapshot()
        for number in range(STEPS):
            torch.cuda.reset_peak_memory_stats()
            start_s = time.perf_counter()
            result = step()
            torch.cuda.synchronize()
            milliseconds = (time.perf_counter() - start_s) * 1000
            write_counters(
                session, f"step {number}", {"result": result, "first_runs_ms": milliseconds}
            )
            trace = memory_trace(session.target.device)
    compact = CompactTrace()
    compact.add_all(trace)
    # The snapshot that read the last step's events ends it.
    if compact.events[-1:] != [["s"]]:
        compact.events.append(["s"])
    for start in range(0, len(compact.events), EVENTS_A_RECORD):
        session.recorder.write(
            "events", start=start, events=compact.events[start : start + EVENTS_A_RECORD]
        )
    session.recorder.progress(f"{session.argument}: {len(trace)} events of the allocator")


def write_counters(session: Session, after: str, more: dict[str, Any]) -> None:
    """The allocator's whole statistics. Peaks are those since the last record."""
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    session.recorder.write(
        "counters",
        after=after,
        stats={name: value for name, value in torch.cuda.memory_stats().items() if value},
        free_bytes=free,
        total_bytes=total,
        **more,
    )
