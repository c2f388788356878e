# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Progress bars while the demo trains, its table afterwards, and what it checks."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import Tensor

from torch_remote.demo.devices import T4, T4_OVER_TCP, Place, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch_remote.demo.models import Recipe
    from torch_remote.demo.training import Observer, Trained

LOG_WIDTH = 120
NOT_COUNTED = "-"


@dataclass(frozen=True)
class Outcome:
    """One network trained in one place."""

    place: Place
    recipe: Recipe
    trained: Trained
    usage: Usage | None

    @property
    def title(self) -> str:
        return f"{self.recipe.name} on {self.place.title}"


def make_console() -> Console:
    """A terminal has its own width; a log gets one that fits the table."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    return console


@contextmanager
def progress_bar(console: Console, title: str, epochs: int) -> Iterator[Observer]:
    """A bar on a terminal, nothing in a log."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[loss]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task(title, total=epochs, loss="")

        def observe(epochs_done: float, loss: float | None) -> None:
            shown = "" if loss is None else f"loss {loss:.3f}"
            progress.update(bar, completed=epochs_done, loss=shown)

        yield observe


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}"


def usage_cells(usage: Usage | None) -> Sequence[str]:
    if usage is None:
        return [NOT_COUNTED] * 5
    return [
        megabytes(usage.memory_peak),
        f"{usage.operations:,}",
        f"{usage.round_trips:,}",
        megabytes(usage.bytes_sent),
        megabytes(usage.bytes_received),
    ]


def results_table(outcomes: Sequence[Outcome]) -> Table:
    """Fits a terminal of 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, collapse_padding=True, pad_edge=False)
    table.add_column("device")
    table.add_column("model")
    numbers = ("right", "images\n/s", "peak\nMB", "operations", "round\ntrips")
    for heading in (*numbers, "MB\nsent", "MB\nreceived"):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        table.add_row(
            outcome.place.title,
            outcome.recipe.name,
            f"{outcome.trained.accuracy:.1%}",
            f"{outcome.trained.images_per_second:,.0f}",
            *usage_cells(outcome.usage),
        )
    return table


def inaccurate(outcomes: Sequence[Outcome], least: float) -> list[str]:
    """A line for every training whose network reads too few of the held-out digits."""
    return [
        f"{outcome.title}: {outcome.trained.accuracy:.1%} right on held-out images, "
        f"needed {least:.0%}"
        for outcome in outcomes
        if outcome.trained.accuracy < least
    ]


def same_bits(left: Tensor, right: Tensor) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return torch.equal(left.reshape(-1).view(torch.uint8), right.reshape(-1).view(torch.uint8))


def differing_weights(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for every network whose weights differ between the T4 here and the one over TCP."""
    differences = []
    for here in (outcome for outcome in outcomes if outcome.place is T4):
        for there in outcomes:
            if there.place is not T4_OVER_TCP or there.recipe is not here.recipe:
                continue
            differing = [
                name
                for name, tensor in here.trained.weights.items()
                if not same_bits(tensor, there.trained.weights[name])
            ]
            if differing:
                differences.append(
                    f"{here.title} and {there.title}: {len(differing)} of "
                    f"{len(here.trained.weights)} tensors differ, the first is {differing[0]}"
                )
    return differences
