# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""torch_remote.profile(): what remote devices did in a part of a program, as a table and as a trace.

On an emulated GPU all times are the model's, the host's as well, and the profile changes none of them.
On others the device's times are measured by the executor, and the host's by this process.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch

from torch_remote._devices import device_index
from torch_remote._loading import ensure_loaded
from torch_remote._trace import write_chrome_trace


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation or copy. Nanoseconds since 1970; a model's clock is laid over at the profile's start.

    Attributes:
        kind: "operator", "copy to device" or "copy from device".
        device_index: of remote:0, remote:1, ...
        stream: the number of its stream; 0 is the default one.
        thread: which of the program's threads called it; 0 for all where time is modelled.
        start_ns: of the work on the device; with end_ns.
        host_start_ns: of the call in the program; with host_end_ns.
        is_modelled: whether the times are a model's.
        size_bytes: of a copy.
        allocated_bytes: live on the device when it was called.
        called_at: the program's line, "file:line in function"; empty where there is none, as in
            a backward pass.
    """

    kind: str
    name: str
    device_index: int
    stream: int
    thread: int
    start_ns: int
    end_ns: int
    host_start_ns: int
    host_end_ns: int
    is_modelled: bool
    size_bytes: int
    allocated_bytes: int
    called_at: str


@dataclass(frozen=True)
class OperatorSummary:
    """All calls of one operator. Microseconds.

    Attributes:
        gpu_time_us: sum of its calls' times on the device.
        gpu_share: that in the sum of all operators, 0 to 1.
        host_time_us: sum of its calls' times in the program.
        called_at: the program's line whose calls took most of gpu_time_us.
    """

    name: str
    calls: int
    gpu_time_us: float
    gpu_share: float
    host_time_us: float
    called_at: str


_SORT_KEYS = ("gpu_time_us", "host_time_us", "calls", "name")


class Profile:
    """A context manager, made by profile(). What it tells is there after the with statement."""

    def __init__(self) -> None:
        self._recording: Any = None
        self._operations: tuple[Operation, ...] | None = None
        self._titles: dict[int, str] = {}
        #: Devices of which something is missing, and why.
        self.errors: tuple[str, ...] = ()

    def __enter__(self) -> "Profile":
        """Starts the profile.

        Raises:
            RuntimeError: it was taken before, or another one is being taken.
        """
        if self._recording is not None:
            raise RuntimeError("a profile is taken once: call torch_remote.profile() for another")
        self._recording = ensure_loaded().Profile()
        self._recording.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._operations = tuple(Operation(*row) for row in self._recording.finish())
        self.errors = tuple(self._recording.errors())
        modelled = {one.device_index: one.is_modelled for one in self._operations}
        self._titles = {index: _title(index, modelled[index]) for index in sorted(modelled)}

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations and copies, device by device, in the order of their calls."""
        if self._operations is None:
            raise RuntimeError("a profile has no results before the end of its with statement")
        return self._operations

    def duration_us(self, device: torch.device | str | int | None = None) -> float:
        """From the first call to the end of the last work; 0 where nothing was called."""
        chosen = self._of(device)
        if not chosen:
            return 0.0
        start_ns = min(one.host_start_ns for one in chosen)
        return (max(max(one.end_ns, one.host_end_ns) for one in chosen) - start_ns) / 1e3

    def summary(
        self,
        device: torch.device | str | int | None = None,
        *,
        sort_by: str = "gpu_time_us",
        by_line: bool = False,
    ) -> list[OperatorSummary]:
        """One row for each operator, largest first.

        Args:
            device: of this device alone; default: all together.
            sort_by: "gpu_time_us", "host_time_us", "calls" or "name".
            by_line: one row for each operator and line of the program.

        Raises:
            ValueError: no such key.
        """
        if sort_by not in _SORT_KEYS:
            raise ValueError(f"sort_by has to be one of {', '.join(_SORT_KEYS)}, not {sort_by!r}")
        rows = _summarize(self._of(device), by_line)
        if sort_by == "name":
            return sorted(rows, key=lambda row: row.name)
        return sorted(rows, key=lambda row: (-getattr(row, sort_by), row.name))

    def table(
        self,
        device: torch.device | str | int | None = None,
        *,
        sort_by: str = "gpu_time_us",
        by_line: bool = False,
        row_limit: int = 30,
    ) -> str:
        """summary() as text, with a line for what the rows beyond row_limit have together."""
        chosen = self._of(device)
        rows = self.summary(device, sort_by=sort_by, by_line=by_line)
        titles = {one.device_index: self._titles[one.device_index] for one in chosen}
        lines = [f"{', '.join(titles.values()) or 'nothing'}: {self._headline(device, chosen)}"]
        header = ("operator", "calls", "GPU time", "share", "host time", "called at")
        cells = [header, *(_cells(row) for row in rows[:row_limit])]
        if len(rows) > row_limit:
            cells.append(_cells(_together(rows[row_limit:])))
        widths = [max(len(row[column]) for row in cells) for column in range(5)]
        for row in cells:
            numbers = (text.rjust(width) for text, width in zip(row[1:5], widths[1:], strict=True))
            lines.append("  ".join((row[0].ljust(widths[0]), *numbers, row[5])).rstrip())
        return "\n".join(lines)

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes the trace for Perfetto (ui.perfetto.dev) or chrome://tracing; ".gz" compresses it.

        Each device has a row for the program's calls, one for each stream, with arrows from a call to its
        work, and the memory of its live tensors over time.
        """
        write_chrome_trace(self.operations, self._titles, path)

    def __str__(self) -> str:
        return "\n\n".join(self.table(index) for index in self._titles) or self.table()

    def _of(self, device: torch.device | str | int | None) -> list[Operation]:
        if device is None:
            return list(self.operations)
        wanted = device if isinstance(device, int) else device_index(device)
        return [one for one in self.operations if one.device_index == wanted]

    def _headline(self, device: torch.device | str | int | None, chosen: list[Operation]) -> str:
        busy_us = sum(one.end_ns - one.start_ns for one in chosen) / 1e3
        return f"{_time(self.duration_us(device))}, {len(chosen)} operations that take {_time(busy_us)} on the device"


def profile() -> Profile:
    """Profiles remote devices within a with statement; see docs/PROFILING.md.

    with torch_remote.profile() as prof:
        train_step()
    print(prof)
    prof.export_chrome_trace("trace.json")
    """
    return Profile()


def _title(index: int, is_modelled: bool) -> str:
    extension = ensure_loaded()
    if not extension.is_running(index):
        return f"remote:{index}"
    description: dict[str, str] = extension.description(index)
    name = description.get("emulates") or description.get("gpu_name") or description.get("device")
    kind = "modelled" if is_modelled else "measured"
    return f"remote:{index} ({name}, {kind})" if name else f"remote:{index} ({kind})"


def _summarize(operations: Iterable[Operation], by_line: bool) -> list[OperatorSummary]:
    groups: dict[tuple[str, str], list[Operation]] = defaultdict(list)
    for one in operations:
        groups[one.name, one.called_at if by_line else ""].append(one)
    gpu_ns = {key: sum(one.end_ns - one.start_ns for one in group) for key, group in groups.items()}
    total_ns = sum(gpu_ns.values())
    return [
        OperatorSummary(
            name=key[0],
            calls=len(group),
            gpu_time_us=gpu_ns[key] / 1e3,
            gpu_share=gpu_ns[key] / total_ns if total_ns else 0.0,
            host_time_us=sum(one.host_end_ns - one.host_start_ns for one in group) / 1e3,
            called_at=_line_of_most(group),
        )
        for key, group in groups.items()
    ]


def _line_of_most(operations: Iterable[Operation]) -> str:
    time_ns: dict[str, int] = defaultdict(int)
    for one in operations:
        time_ns[one.called_at] += one.end_ns - one.start_ns
    return max(time_ns, key=lambda line: time_ns[line])


def _together(rows: list[OperatorSummary]) -> OperatorSummary:
    return OperatorSummary(
        name=f"{len(rows)} more",
        calls=sum(row.calls for row in rows),
        gpu_time_us=sum(row.gpu_time_us for row in rows),
        gpu_share=sum(row.gpu_share for row in rows),
        host_time_us=sum(row.host_time_us for row in rows),
        called_at="",
    )


def _cells(row: OperatorSummary) -> tuple[str, str, str, str, str, str]:
    return (
        row.name,
        str(row.calls),
        _time(row.gpu_time_us),
        f"{row.gpu_share:.1%}",
        _time(row.host_time_us),
        row.called_at,
    )


def _time(us: float) -> str:
    if us < 1e3:
        return f"{us:.1f} us"
    return f"{us / 1e3:.3f} ms" if us < 1e6 else f"{us / 1e6:.3f} s"
