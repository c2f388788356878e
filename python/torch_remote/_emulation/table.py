# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A comparison as a table: text of at most 100 columns, and HTML for notebooks and pages."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch_remote._emulation.result import Comparison, GpuRun, Shortfall

_UNKNOWN = "-"
_TITLES = ("GPU", "fits", "allocated", "reserved", "of", "step", "samples/s", "$/1k steps", "$/h")
#: What a column means, where its title doesn't say it.
_MEANINGS = {
    "fits": "whether the program runs to its end",
    "allocated": "most memory in tensors at a time",
    "reserved": "most memory that PyTorch's allocator took from the GPU",
    "of": "memory of the GPU that a program can use",
    "step": "time of a step, the median without the first",
    "$/1k steps": "price of a thousand steps",
    "$/h": "price of an hour, at Modal",
}


def text_table(comparison: Comparison) -> str:
    """Columns, and below them where programs don't fit and how things were found."""
    rows = [_TITLES, *(_cells(row) for row in comparison.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    notes = notes_of(comparison)
    return "\n".join([*lines, *([""] if notes else []), *notes])


def html_table(comparison: Comparison) -> str:
    """A table alone, which takes its colours from the page around it."""
    titles = "".join(
        f'<th title="{escape(_MEANINGS.get(title, ""))}">{escape(title)}</th>' for title in _TITLES
    )
    body = "".join(_html_row(row) for row in comparison.rows)
    notes = "".join(f"<li>{escape(note)}</li>" for note in notes_of(comparison))
    return (
        '<table class="torch-remote">'
        f"<thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
        + (f'<ul class="torch-remote">{notes}</ul>' if notes else "")
    )


def notes_of(comparison: Comparison) -> list[str]:
    """Where the program doesn't fit, which rows are their own runs, and how figures were found."""
    notes = [
        f"{row.gpu} is out of memory {_at(row.shortfall)}"
        for row in comparison.rows
        if row.shortfall
    ]
    notes += [f"{row.gpu}: {row.error}" for row in comparison.rows if row.error]
    notes += _own_runs(comparison)
    notes.append(_how_steps(comparison))
    if comparison.dry_run:
        notes.append("dry run: nothing was computed" + _how_reads(comparison))
    return notes


def _how_steps(comparison: Comparison) -> str:
    if not comparison.steps:
        return (
            "no step was found: neither optimizer.step() nor torch_remote.step() was called often "
            "enough"
        )
    count = f"{comparison.steps} step" + ("s" if comparison.steps > 1 else "")
    text = f"{count}, by {comparison.steps_found}"
    if comparison.batch_size is None:
        return f"{text}; samples of a step unknown: give --batch-size"
    return f"{text}; {comparison.batch_size} samples each, {comparison.batch_found}"


def _how_reads(comparison: Comparison) -> str:
    if not comparison.reads:
        return ""
    times = "once" if comparison.reads == 1 else f"{comparison.reads} times"
    return f", and what the program read {times}, first at {comparison.first_read}, was zero"


def _own_runs(comparison: Comparison) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.own_run:
            reasons.setdefault(row.own_run, []).append(row.gpu)
    return [f"* run by itself, {reason}: {', '.join(gpus)}" for reason, gpus in reasons.items()]


def _cells(row: GpuRun) -> tuple[str, ...]:
    return (
        row.gpu + ("*" if row.own_run else ""),
        "failed" if row.error else "yes" if row.fits else "no",
        gibibytes(row.allocated_bytes_peak),
        gibibytes(row.reserved_bytes_peak),
        gibibytes(row.usable_bytes),
        _UNKNOWN if row.step_time_s is None else duration(row.step_time_s),
        _UNKNOWN if row.samples_per_s is None else rounded(row.samples_per_s),
        _UNKNOWN if row.price_usd_per_step is None else rounded(1000 * row.price_usd_per_step),
        f"{row.price_usd_per_h:.2f}" if row.price_usd_per_h else _UNKNOWN,
    )


def _html_row(row: GpuRun) -> str:
    kind = "fits" if row.fits else "short"
    title = _at(row.shortfall) if row.shortfall else row.error
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row))
    return f'<tr class="{kind}" title="{escape(title)}">{cells}</tr>'


def _at(shortfall: Shortfall | None) -> str:
    if shortfall is None:
        return ""
    what = "an allocation" if shortfall.operation == "allocation" else shortfall.operation
    line = f" at {shortfall.line}" if shortfall.line else ""
    return (
        f"in {what}{line}: {size(shortfall.requested_bytes)} more than the "
        f"{size(shortfall.allocated_bytes)} in use"
    )


def gibibytes(size_bytes: int) -> str:
    """ "1.62 GiB": one unit for a whole column."""
    return f"{size_bytes / 2**30:,.2f} GiB"


def size(size_bytes: int) -> str:
    """In the unit that suits it."""
    number, units = float(size_bytes), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while number >= 1024 and len(units) > 1:
        number /= 1024
        del units[0]
    return f"{number:.0f} bytes" if units[0] == "bytes" else f"{number:.4g} {units[0]}"


def duration(seconds: float) -> str:
    """ "12.3 ms": three digits."""
    for unit, factor in (("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 999.5:
            return f"{rounded(seconds * factor)} {unit}"
    return f"{rounded(seconds)} s"


def rounded(number: float) -> str:
    """Three digits, without an exponent."""
    if number >= 99.95:
        return f"{number:,.0f}"
    if number >= 9.995:
        return f"{number:.1f}"
    return f"{number:.2f}" if number >= 0.9995 else f"{number:#.3g}"
