# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A profile as a trace in Chrome's format, which Perfetto reads as well."""

import gzip
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch_remote._profile import Operation

# Rows of a device: its program's threads come first, then its streams.
_FIRST_STREAM_ROW = 1000

_CATEGORIES = {
    "operator": "kernel",
    "copy to device": "gpu_memcpy",
    "copy from device": "gpu_memcpy",
}


def write_chrome_trace(
    operations: Sequence["Operation"], titles: Mapping[int, str], path: str | os.PathLike[str]
) -> None:
    """Writes what the devices with these titles did. Times in the file begin at the first call."""
    start_ns = min((one.host_start_ns for one in operations), default=0)
    events = [*_names(operations, titles)]
    for number, one in enumerate(operations, start=1):
        events.extend(_events(number, one, start_ns))
    text = json.dumps({"displayTimeUnit": "ms", "traceEvents": events})
    if os.fspath(path).endswith(".gz"):
        Path(path).write_bytes(gzip.compress(text.encode()))
    else:
        Path(path).write_text(text, encoding="utf-8")


def _names(
    operations: Sequence["Operation"], titles: Mapping[int, str]
) -> Iterator[dict[str, Any]]:
    for index, title in titles.items():
        yield _name("process_name", index, 0, name=title)
        yield _name("process_sort_index", index, 0, sort_index=index)
    rows: dict[tuple[int, int], str] = {}
    for one in operations:
        thread = f"host, thread {one.thread}" if one.thread else "host"
        rows.setdefault((one.device_index, one.thread), thread)
        rows.setdefault((one.device_index, _stream_row(one)), f"stream {one.stream}")
    for (index, row), name in sorted(rows.items()):
        yield _name("thread_name", index, row, name=name)
        yield _name("thread_sort_index", index, row, sort_index=row)


def _name(kind: str, index: int, row: int, **values: Any) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": index, "tid": row, "args": values}


def _events(number: int, one: "Operation", start_ns: int) -> Iterator[dict[str, Any]]:
    def place(row: int, time_ns: int) -> dict[str, Any]:
        return {"pid": one.device_index, "tid": row, "ts": (time_ns - start_ns) / 1e3}

    about: dict[str, Any] = {"called at": one.called_at} if one.called_at else {}
    if one.size_bytes:
        about["bytes"] = one.size_bytes
    host = place(one.thread, one.host_start_ns)
    host_us = (one.host_end_ns - one.host_start_ns) / 1e3
    yield {"ph": "X", "name": one.name, "cat": "host", "dur": host_us, "args": about, **host}
    if one.end_ns > one.start_ns:
        work = place(_stream_row(one), one.start_ns)
        work_us = (one.end_ns - one.start_ns) / 1e3
        about = about | {"stream": one.stream}
        category = _CATEGORIES[one.kind]
        yield {"ph": "X", "name": one.name, "cat": category, "dur": work_us, "args": about, **work}
        flow = {"name": "call", "cat": "call", "id": number}
        yield {"ph": "s", **flow, **host}
        yield {"ph": "f", "bp": "e", **flow, **work}
    counter = place(0, one.host_end_ns)
    memory = {"bytes": one.allocated_bytes}
    yield {"ph": "C", "name": "allocated memory", "args": memory, **counter}


def _stream_row(one: "Operation") -> int:
    return _FIRST_STREAM_ROW + one.stream
