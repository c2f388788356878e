# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The calibration programs on emulated GPUs, beside what the allocator of the real ones recorded."""

from __future__ import annotations

import json
import sys
import tarfile
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from measuring import dry_gpu, error, memory
from torch_remote import _C

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALIBRATION = Path(__file__).parents[2] / "emulator" / "calibration"
sys.path.insert(0, str(CALIBRATION))

from gpu_measurements.memory import STEPS, CompactTrace  # noqa: E402
from gpu_measurements.programs import PROGRAMS  # noqa: E402

Event = list[Any]


@dataclass(frozen=True)
class Span:
    """The set-up or a step: its peaks, and the requested bytes of what it allocated, in order."""

    max_allocated: int
    max_reserved: int
    requests: list[int]


@dataclass(frozen=True)
class Difference:
    """Of a step's requests: where they part, and how often a size is in one of the two alone."""

    position: int  # of the first request that differs; -1 if none does
    real: int  # its bytes; 0 where there is none any more
    emulated: int
    missing: Counter[int] = field(default_factory=Counter)
    additional: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Comparison:
    program: str
    gpu: str
    real: list[Span]
    emulated: list[Span]

    @property
    def allocated_error(self) -> float:
        """Of all spans the largest."""
        return self._largest(lambda span: span.max_allocated)

    @property
    def reserved_error(self) -> float:
        return self._largest(lambda span: span.max_reserved)

    def _largest(self, figure: Callable[[Span], int]) -> float:
        errors = [
            error(figure(one), figure(other))
            for one, other in zip(self.emulated, self.real, strict=True)
        ]
        return max(errors, key=abs)

    def differences(self) -> list[Difference]:
        return [
            difference(one.requests, other.requests)
            for one, other in zip(self.real, self.emulated, strict=True)
        ]


def difference(real: list[int], emulated: list[int]) -> Difference:
    """Of two lists of requested bytes."""
    position = next(
        (i for i, (one, other) in enumerate(zip(real, emulated, strict=False)) if one != other),
        -1 if len(real) == len(emulated) else min(len(real), len(emulated)),
    )

    def at(requests: list[int]) -> int:
        return requests[position] if 0 <= position < len(requests) else 0

    counts, others = Counter(real), Counter(emulated)
    return Difference(position, at(real), at(emulated), counts - others, others - counts)


# ---- what was recorded ----


def archives() -> dict[str, Path]:
    """By GPU type."""
    folder = CALIBRATION / "measurements"
    return {path.name.partition("-")[0].upper(): path for path in sorted(folder.glob("*.tar.xz"))}


@cache
def records(archive: Path) -> dict[str, list[dict[str, Any]]]:
    """Of the sections of memory, by program, in order."""
    found: dict[str, list[dict[str, Any]]] = {}
    with tarfile.open(archive) as tar:
        for name in sorted(tar.getnames(), key=lambda name: (len(name), name)):
            stem = Path(name).name.removesuffix(".jsonl")
            program = stem.removeprefix("memory-").partition("-")[0]
            content = tar.extractfile(name) if stem.startswith("memory-") else None
            if content is not None:
                lines = content.read().decode().splitlines()
                found.setdefault(program, []).extend(json.loads(line) for line in lines)
    return found


def recorded_spans(archive: Path, program: str) -> list[Span]:
    lines = records(archive)[program]
    counters = [line["stats"] for line in lines if line["kind"] == "counters"]
    events: list[Event] = []
    for line in sorted(
        (line for line in lines if line["kind"] == "events"), key=lambda line: line["start"]
    ):
        events += line["events"]
    return [
        Span(stats["allocated_bytes.all.peak"], stats["reserved_bytes.all.peak"], requests_of(span))
        for stats, span in zip(counters, spans_of(events), strict=True)
    ]


def spans_of(events: list[Event]) -> list[list[Event]]:
    """The events of each span up to its snapshot."""
    spans: list[list[Event]] = [[]]
    for event in events:
        if event[0] == "s":
            spans.append([])
        else:
            spans[-1].append(event)
    return spans[:-1]


def requests_of(events: list[Event]) -> list[int]:
    """Requested bytes, in order."""
    return [event[1] for event in events if event[0] == "a"]


# ---- what the emulated GPU does ----

# What values decided on the real GPUs, and a dry run can't know: in the first two steps of this
# program float16 gradients overflowed, so that the scaler left out the optimizer's step, which makes
# its state. The recorded events of the third step alone have it.
STEPS_WITHOUT_UPDATE = {"resnet50_amp_channels_last": 2}


@contextmanager
def skipped_updates() -> Iterator[None]:
    """Within it scalers skip the optimizer's step, as where gradients overflowed."""
    step = torch.amp.GradScaler._maybe_opt_step
    torch.amp.GradScaler._maybe_opt_step = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.amp.GradScaler._maybe_opt_step = step  # type: ignore[method-assign]


def recorded_torch_minor(archive: Path) -> int:
    """Of the PyTorch 2.x that made the recording, which its name tells."""
    return int(archive.name.partition("-torch-2.")[2].partition("-")[0])


def run(program: str, gpu: str, torch_minor: int) -> list[Span]:
    """The set-up and the steps on an emulated GPU, without arithmetic.

    Which of several free blocks is taken differs between versions of PyTorch, and what is reserved depends on it. So
    what the operators ask for goes through the allocator of the version that was recorded.
    """
    with dry_gpu(gpu) as device:
        functions = memory(device)
        functions.memory._record_memory_history(device=device)

        def end_span() -> None:
            functions.synchronize(device)
            functions.memory._snapshot(device)  # marks the end among the events

        step = PROGRAMS[program](device, False)
        end_span()
        for number in range(STEPS):
            is_skipped = number < STEPS_WITHOUT_UPDATE.get(program, 0)
            with skipped_updates() if is_skipped else nullcontext():
                step()
            end_span()
        trace = CompactTrace()
        snapshot = functions.memory._snapshot(device)
        trace.add_all(snapshot["device_traces"][device.index or 0])
        total_bytes = functions.mem_get_info(device)[1]
        del step
    allocator = _C.CachingAllocator(total_bytes, torch_minor=torch_minor)
    return replayed(trace.events, allocator)


def replayed(events: list[Event], allocator: _C.CachingAllocator) -> list[Span]:
    """Of each span up to its snapshot the peaks of the allocator that serves these requests and frees."""
    blocks: list[int] = []
    spans = []
    for span in spans_of(events):
        for event in span:
            if event[0] == "a":
                blocks.append(allocator.allocate(event[1])[0])
            elif event[0] in ("x", "c"):
                allocator.free(blocks[event[1]])
        statistics = allocator.statistics()
        spans.append(
            Span(
                statistics["allocated_bytes.all.peak"],
                statistics["reserved_bytes.all.peak"],
                requests_of(span),
            )
        )
        allocator.reset_peak()
    return spans


def compare(program: str, gpu: str) -> Comparison:
    archive = archives()[gpu]
    emulated = run(program, gpu, recorded_torch_minor(archive))
    return Comparison(program, gpu, recorded_spans(archive, program), emulated)


def table(comparisons: list[Comparison]) -> list[str]:
    """Peaks are those of the step with the largest."""
    lines = [
        "| program | GPU | allocated | emulated | error | reserved | emulated | error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for comparison in comparisons:
        row = [comparison.program, comparison.gpu]
        for name in ("max_allocated", "max_reserved"):
            real = max(getattr(span, name) for span in comparison.real)
            emulated = max(getattr(span, name) for span in comparison.emulated)
            largest = getattr(comparison, f"{name.removeprefix('max_')}_error")
            row += [f"{real / 2**20:.1f} MiB", f"{emulated / 2**20:.1f} MiB", f"{largest:+.2%}"]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def describe(found: Difference, limit: int = 6) -> str:
    if found.position < 0:
        return "the same requests"
    parts = [f"first at {found.position}: {found.real} B, emulated {found.emulated} B"]
    for word, sizes in (("missing", found.missing), ("additional", found.additional)):
        largest = sorted(sizes.items(), key=lambda item: -item[0] * item[1])[:limit]
        if largest:
            listed = ", ".join(f"{count} x {size}" for size, count in largest)
            parts.append(f"{word}: {listed}")
    return "; ".join(parts)
