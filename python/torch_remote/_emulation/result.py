# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the models of GPUs say of a run, as plain values."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import json
import math
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_remote._devices import device_index
from torch_remote._loading import ensure_loaded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

#: Steps that are left out of the step time while there are more: memory is cached in them.
_WARM_UP_STEPS = 1


@dataclass(frozen=True)
class Shortfall:
    """The first request that a GPU had no memory for. Sizes in bytes."""

    operation: str
    """The operator, such as "aten::mm"; "allocation" where a tensor was made that none fills."""
    line: str
    """Of the program: "train.py:12 in forward"; empty where it isn't known."""
    after_operations: int
    requested_bytes: int
    allocated_bytes: int
    """In use by tensors then."""
    free_bytes: int


@dataclass(frozen=True)
class MemoryPoint:
    """The most memory between this moment and the next point's, in bytes."""

    operation: int
    """How many operations there were before."""
    time_s: float
    """On this GPU, since the device was made."""
    allocated_bytes: int
    reserved_bytes: int


@dataclass(frozen=True)
class OperatorUse:
    """An operator over the whole run, and the sum of its kernels' times on the GPU."""

    name: str
    calls: int
    gpu_time_us: float


@dataclass(frozen=True)
class Divergence:
    """The first call that one of two GPUs refuses, for its compute capability or for a limit of CUDA's kernels."""

    operation: str
    line: str
    message: str
    """What the GPU that refuses raises."""
    is_refused: bool
    """By this GPU; otherwise by the one that governed."""


@dataclass(frozen=True)
class GpuRun:
    """What a program needs of one GPU. Sizes in bytes, times in seconds, prices in US dollars.

    Times of a step, and what follows from them, are None where no step was found.
    """

    gpu: str
    total_bytes: int
    usable_bytes: int
    """What allocations can use: without the CUDA context."""
    allocated_bytes_peak: int
    """Of the whole program: also behind the point where the memory of the GPU was used up."""
    reserved_bytes_peak: int
    shortfall: Shortfall | None
    price_usd_per_h: float
    """0 where it isn't known, of a GPU of the user's own."""
    total_time_s: float
    """Of the whole program, by the modelled clock."""
    step_time_s: float | None = None
    samples_per_s: float | None = None
    own_run: str = ""
    """Why this GPU got a run by itself; empty where it looked on in another one's."""
    error: str = ""
    """What the program raised on this GPU; empty where it went through."""
    memory: Sequence[MemoryPoint] = ()
    operators: Sequence[OperatorUse] = ()
    divergence: Divergence | None = None
    """Where this GPU and the one that governed would have gone apart; None in a run of its own."""

    @property
    def fits(self) -> bool:
        """Whether the program runs to its end on this GPU."""
        return self.shortfall is None and not self.error

    @property
    def gpus_needed(self) -> int:
        """How many of them have the memory for what is allocated at the peak, were it divided."""
        return math.ceil(self.allocated_bytes_peak / self.usable_bytes)

    @property
    def price_usd_per_step(self) -> float | None:
        """None where the step time or the price isn't known."""
        if self.step_time_s is None or not self.price_usd_per_h:
            return None
        return self.price_usd_per_h * self.step_time_s / 3600


@dataclass(frozen=True)
class Comparison:
    """A program on several GPUs: a table as text, in a notebook, and as JSON."""

    rows: Sequence[GpuRun]
    operations: int
    steps: int
    steps_found: str
    """How: "optimizer.step()", "torch_remote.step()", or "" where there was none."""
    batch_size: int | None
    batch_found: str
    """How: "given", "first dimension of Net's first input", or "" where there was none."""
    dry_run: bool
    reads: int = 0
    """Values that a dry run read as zeros."""
    first_read: str = ""
    """The line of the first of them."""

    def row(self, gpu: str) -> GpuRun:
        """Of one GPU. Raises KeyError for one that wasn't compared."""
        for row in self.rows:
            if row.gpu == gpu:
                return row
        raise KeyError(f"{gpu} isn't among {', '.join(row.gpu for row in self.rows)}")

    def to_json(self) -> str:
        """Everything, the properties of rows included."""
        content = dataclasses.asdict(self)
        for told, row in zip(content["rows"], self.rows, strict=True):
            told["fits"] = row.fits
            told["gpus_needed"] = row.gpus_needed
            told["price_usd_per_step"] = row.price_usd_per_step
        return json.dumps(content, indent=2)

    def __str__(self) -> str:
        from torch_remote._emulation.table import text_table

        return text_table(self)

    def _repr_html_(self) -> str:
        from torch_remote._emulation.table import html_table

        return html_table(self)


def result_of(
    device: torch.device | str | int | None = None,
    *,
    steps_found: str = "",
    samples: int | None = None,
    batch_found: str = "",
) -> Comparison:
    """What the models of a device say so far: a row for each GPU that looks on.

    Args:
        samples: of a step.

    Raises:
        ValueError: the device emulates no GPU.
    """
    told = ensure_loaded().emulation(device_index(device))
    steps = max(len(told["steps"]) - 1, 0)
    return Comparison(
        rows=[_row(row, told["time_samples"], samples) for row in told["gpus"]],
        operations=told["operations"],
        steps=steps,
        steps_found=steps_found or ("torch_remote.step()" if steps else ""),
        batch_size=samples,
        batch_found=batch_found,
        dry_run=told["dry_run"],
        reads=told["reads"],
        first_read=_from_here(told["first_read"]),
    )


def comparison_from_json(text: str) -> Comparison:
    """What Comparison.to_json() gave.

    Raises:
        json.JSONDecodeError, LookupError, TypeError: it is something else.
    """
    told = json.loads(text)
    told["rows"] = [_row_from_json(row) for row in told["rows"]]
    return Comparison(**told)


def _row_from_json(told: dict[str, Any]) -> GpuRun:
    for derived in ("fits", "gpus_needed", "price_usd_per_step"):
        del told[derived]
    told["shortfall"] = told["shortfall"] and Shortfall(**told["shortfall"])
    told["divergence"] = told["divergence"] and Divergence(**told["divergence"])
    told["memory"] = [MemoryPoint(**point) for point in told["memory"]]
    told["operators"] = [OperatorUse(**use) for use in told["operators"]]
    return GpuRun(**told)


def _row(told: Mapping[str, Any], time_samples: Sequence[int], samples: int | None) -> GpuRun:
    step_time_s = _step_time_s(told["step_ends_us"])
    time_at = _Interpolation(time_samples, told["time_samples_us"])
    return GpuRun(
        gpu=told["type"],
        total_bytes=told["total_bytes"],
        usable_bytes=told["usable_bytes"],
        allocated_bytes_peak=told["allocated_bytes_peak"],
        reserved_bytes_peak=told["reserved_bytes_peak"],
        shortfall=_shortfall(told["shortfall"]),
        divergence=_divergence(told["divergence"]),
        price_usd_per_h=told["price_usd_per_s"] * 3600,
        total_time_s=told["time_us"] * 1e-6,
        step_time_s=step_time_s,
        samples_per_s=samples / step_time_s if samples and step_time_s else None,
        memory=[
            MemoryPoint(operation, time_at(operation) * 1e-6, allocated, reserved)
            for operation, allocated, reserved in told["memory"]
        ],
        operators=[OperatorUse(*use) for use in told["operators"]],
    )


def _shortfall(told: Mapping[str, Any] | None) -> Shortfall | None:
    if told is None:
        return None
    return dataclasses.replace(Shortfall(**told), line=_from_here(told["line"]))


def _divergence(told: Mapping[str, Any] | None) -> Divergence | None:
    if told is None:
        return None
    return dataclasses.replace(Divergence(**told), line=_from_here(told["line"]))


def _from_here(line: str) -> str:
    """A file below the current folder without the way to that."""
    return line.removeprefix(f"{Path.cwd()}{os.sep}")


class _Interpolation:
    """A function that is linear between the places where it is known, and constant beyond them."""

    def __init__(self, places: Sequence[float], values: Sequence[float]) -> None:
        self._places, self._values = places, values

    def __call__(self, place: float) -> float:
        if not self._places:
            return 0.0
        after = bisect.bisect_right(self._places, place)
        if after in (0, len(self._places)):
            return self._values[min(after, len(self._places) - 1)]
        left, right = self._places[after - 1], self._places[after]
        share = (place - left) / (right - left)
        return self._values[after - 1] * (1 - share) + self._values[after] * share


def _step_time_s(ends_us: Sequence[float]) -> float | None:
    """The median step; the first is left out where there are others."""
    times_us = [end - start for start, end in itertools.pairwise(ends_us)]
    if len(times_us) > _WARM_UP_STEPS:
        del times_us[:_WARM_UP_STEPS]
    return statistics.median(times_us) * 1e-6 if times_us else None
