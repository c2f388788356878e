# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the benchmark programs share: places to run in, alternating samples, reports."""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import platform
import statistics
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
import torch_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Cell = str | int | float
Row = dict[str, Cell]

CPU = torch.device("cpu")
GPU_TYPE = "A100-80GB"
THREADS = 1
WARM_UP_ROUNDS = 1


def process_seconds(pid: int) -> float:
    """CPU time of another process; not a number where the system can't tell."""
    find_clock = getattr(ctypes.CDLL(None), "clock_getcpuclockid", None)
    clock = ctypes.c_int()
    if find_clock is None or find_clock(pid, ctypes.byref(clock)):
        return math.nan
    return time.clock_gettime(clock.value)


@dataclass(frozen=True)
class Place:
    """A device to measure on, and the process of its executor where that isn't this one."""

    name: str
    device: torch.device
    executor: int | None = None

    def cpu_seconds(self) -> float:
        """CPU time so far of every thread on both sides."""
        elsewhere = 0.0 if self.executor is None else process_seconds(self.executor)
        return time.process_time() + elsewhere

    def synchronize(self) -> None:
        if self.device.type != "cpu":
            torch.get_device_module(self.device).synchronize(self.device)

    def round_trips(self) -> int:
        if self.device.type == "cpu":
            return 0
        return torch_remote.stats(self.device).round_trips


BASELINE = Place("cpu", CPU)


@contextmanager
def _cpu() -> Iterator[Place]:
    yield BASELINE


@contextmanager
def _emulator() -> Iterator[Place]:
    device = torch_remote.emulate(GPU_TYPE, num_threads=THREADS)
    yield Place("emulator", device)
    torch_remote.machine(device).stop()


@contextmanager
def _null() -> Iterator[Place]:
    device = torch_remote.null_device()
    yield Place("null", device)
    torch_remote.machine(device).stop()


@contextmanager
def _process() -> Iterator[Place]:
    with torch_remote.LocalExecutor(device="cpu") as executor:
        device = torch_remote.connect(executor.endpoint, num_threads=THREADS)
        yield Place("process", device, executor.process.pid)
        torch_remote.machine(device).stop()


_OPENERS = {"cpu": _cpu, "emulator": _emulator, "null": _null, "process": _process}


@contextmanager
def open_places(names: Sequence[str]) -> Iterator[list[Place]]:
    """Opens each; "cpu" is plain CPU once more, which shows how much the ratios scatter."""
    if not names:
        yield []
        return
    with _OPENERS[names[0]]() as first, open_places(names[1:]) as others:
        yield [first, *others]


@dataclass(frozen=True)
class Sample:
    """Seconds until the last call returned, until all was computed, and of all threads."""

    calls: float
    wall: float
    cpu: float


Figure = Literal["calls", "wall", "cpu"]


def figure_of(sample: Sample, figure: Figure) -> float:
    return float(getattr(sample, figure))


def take(place: Place, work: Callable[[], object]) -> Sample:
    """Times the work and the synchronize after it, with no collection of garbage in between."""
    gc.collect()
    gc.disable()
    try:
        place.synchronize()
        cpu_before = place.cpu_seconds()
        before = time.perf_counter()
        work()
        called = time.perf_counter()
        place.synchronize()
        done = time.perf_counter()
        return Sample(called - before, done - before, place.cpu_seconds() - cpu_before)
    finally:
        gc.enable()


class Samples(list[Sample]):
    """Of one side of a comparison, in the order of the rounds."""

    def median(self, figure: Figure, per: float = 1.0) -> float:
        return statistics.median(figure_of(sample, figure) for sample in self) / per

    def ratio(self, other: Samples, figure: Figure, other_figure: Figure | None = None) -> float:
        """The median of each round's own ratio, so that what changed between rounds cancels."""
        return statistics.median(
            figure_of(mine, figure) / figure_of(theirs, other_figure or figure)
            for mine, theirs in zip(self, other, strict=True)
        )


def alternate(
    sides: Mapping[str, Callable[[int], Sample]], rounds: int, warm_up: int = WARM_UP_ROUNDS
) -> dict[str, Samples]:
    """Every side once a round; the rounds to warm up come first and aren't kept.

    Each round begins with the next side (A B C, B C A, C A B, ...), so that none always runs after
    the same other one, in the caches and at the clock rate which that one leaves.
    """
    taken = {name: Samples() for name in sides}
    order = list(sides.items())
    for number in range(warm_up + rounds):
        for name, side in order:
            sample = side(number)
            if number >= warm_up:
                taken[name].append(sample)
        order = [*order[1:], order[0]]
    return taken


def geometric_mean(values: Sequence[float]) -> float:
    return statistics.geometric_mean(values)


@dataclass(frozen=True)
class Limit:
    """A figure that isn't a number, for it couldn't be told, keeps no limit."""

    what: str
    value: float
    at_most: float

    @property
    def kept(self) -> bool:
        return self.value <= self.at_most


@dataclass
class Report:
    """The rows of one program's table and the limits that it checks."""

    title: str
    rows: list[Row] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)

    def add(self, **cells: Cell) -> None:
        self.rows.append(cells)

    def limit(self, what: str, value: float, at_most: float) -> None:
        self.limits.append(Limit(what, value, at_most))

    def finish(self, options: argparse.Namespace) -> int:
        """Prints, writes what --json asks for, and gives the exit status."""
        print(f"\n{self.title}\n")
        print_table(self.rows)
        if self.limits:
            print()
        for limit in self.limits:
            if is_nan(limit.value):
                print(f"NONE  {limit.what}: nothing to compare with")
                continue
            verdict = "ok   " if limit.kept else "ABOVE"
            print(f"{verdict} {limit.what}: {limit.value:,.4g} (at most {limit.at_most:,g})")
        if options.json:
            self._write(options.json)
        return int(options.check and not all(limit.kept for limit in self.limits))

    def _write(self, path: Path) -> None:
        limits = [
            {
                **asdict(limit),
                "value": None if is_nan(limit.value) else limit.value,
                "kept": limit.kept,
            }
            for limit in self.limits
        ]
        content = {
            "title": self.title,
            "environment": environment(),
            "rows": [
                {name: None if is_nan(cell) else cell for name, cell in row.items()}
                for row in self.rows
            ],
            "limits": limits,
        }
        path.write_text(json.dumps(content, indent=2) + "\n")


def is_nan(cell: Cell) -> bool:
    """Whether the system couldn't tell this figure."""
    return isinstance(cell, float) and math.isnan(cell)


def environment() -> dict[str, Cell]:
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
    }


def _show(cell: Cell) -> str:
    if isinstance(cell, float):
        return "-" if is_nan(cell) else f"{cell:,.3f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def print_table(rows: Sequence[Row]) -> None:
    """Columns as in the first row, words to the left and numbers to the right."""
    headings = list(rows[0])
    lines = [headings, *([_show(row[heading]) for heading in headings] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    words = [isinstance(rows[0][heading], str) for heading in headings]
    for line in lines:
        cells = (
            text.ljust(width) if left else text.rjust(width)
            for text, width, left in zip(line, widths, words, strict=True)
        )
        print("  ".join(cells).rstrip())


def make_parser(description: str | None, places: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The options of every program; those that measure on devices get one to choose them."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there too")
    parser.add_argument("--check", action="store_true", help="exit 1 if a limit isn't kept")
    if places:
        parser.add_argument(
            "--device",
            action="append",
            choices=list(_OPENERS),
            help=f"measure this one; may be repeated (default: {', '.join(places)})",
        )
        parser.set_defaults(default_places=list(places))
    return parser


@contextmanager
def chosen_places(options: argparse.Namespace) -> Iterator[list[Place]]:
    """Opens what --device asks for, with plain CPU on as many threads as the executors."""
    torch.set_num_threads(THREADS)
    with open_places(options.device or options.default_places) as places:
        yield places


def progress(text: str) -> None:
    """A line on a terminal only; tables are what a log wants."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)
