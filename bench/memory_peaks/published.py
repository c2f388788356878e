# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Peaks that public repositories state for runs on real cards, and what the emulated card says.

published.json has each figure with its source, what it measures and on what, and the figures that were
left out, with the reason; both were written down before the first comparison. Nothing is fitted to them.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import image_programs
import text_programs
from measuring import dry_gpu, error, read_peaks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch

FILE = Path(__file__).with_name("published.json")
PROGRAMS = text_programs.PROGRAMS | image_programs.PROGRAMS


@dataclass(frozen=True)
class Figure:
    """What a source states, in units of so many bytes."""

    program: str
    figure: float
    unit_bytes: int
    measures: str  # a field of measuring.Peaks
    gpu: str  # "" where the source doesn't say
    emulated_gpu: str  # the same card, or where it isn't emulated the nearest
    torch: str  # "" where the source doesn't say
    source: str
    what: str

    @property
    def size_bytes(self) -> float:
        return self.figure * self.unit_bytes


@dataclass(frozen=True)
class Comparison:
    figure: Figure
    emulated_bytes: int

    @property
    def error(self) -> float:
        return error(self.emulated_bytes, self.figure.size_bytes)


@dataclass(frozen=True)
class Limits:
    """Of the errors' sizes."""

    mean: float
    worst: float


def read_figures(path: Path = FILE) -> tuple[list[Figure], Limits]:
    content: dict[str, Any] = json.loads(path.read_text())
    return [Figure(**figure) for figure in content["figures"]], Limits(**content["limits"])


def compare(figure: Figure) -> Comparison:
    with dry_gpu(figure.emulated_gpu) as device:
        emulated = run_on(figure, device)
    return Comparison(figure, emulated)


def run_on(figure: Figure, device: torch.device) -> int:
    """Bytes of what the figure measures."""
    PROGRAMS[figure.program](device)
    return int(getattr(read_peaks(device), figure.measures))


def errors(comparisons: Iterable[Comparison]) -> Limits:
    sizes = [abs(comparison.error) for comparison in comparisons]
    return Limits(statistics.mean(sizes), max(sizes))


def table(comparisons: Sequence[Comparison]) -> list[str]:
    lines = [
        "| program | card | measures | published | emulated | error |",
        "|---|---|---|---|---|---|",
    ]
    for comparison in comparisons:
        figure = comparison.figure
        unit = "GiB" if figure.unit_bytes == 1 << 30 else "GB"
        emulated = comparison.emulated_bytes / figure.unit_bytes
        lines.append(
            f"| {figure.program} | {figure.gpu or 'not told'} | {figure.measures} "
            f"| {figure.figure:.4g} {unit} | {emulated:.4g} {unit} | {comparison.error:+.1%} |"
        )
    return lines
