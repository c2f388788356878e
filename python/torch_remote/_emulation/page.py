# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A comparison as one HTML file that needs no network: the table, and plots drawn by plotly."""

from __future__ import annotations

import importlib.util
import json
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from torch_remote._emulation.table import duration, gibibytes, html_table, rounded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch_remote._emulation.result import Comparison, GpuRun

_OPERATORS_SHOWN = 12
_GIB = 2**30
_BLUE, _PALE_BLUE, _ORANGE, _PALE_ORANGE = "#2f7ed8", "#9cc3ee", "#d9660a", "#f3b98a"
_MIDDLE_BLUE = "#6a9fd6"
_ROW_HEIGHT = 34
_AXIS_TITLE = {"standoff": 10, "font": {"size": 13}}


def check_can_draw() -> None:
    """Raises ImportError, saying what to do, where plotly isn't installed."""
    if importlib.util.find_spec("plotly") is None:
        raise ImportError('a page needs plotly: pip install "torch-remote[plots]"')


def write_page(comparison: Comparison, path: Path, title: str) -> None:
    """Writes the page.

    Raises:
        ImportError: plotly isn't installed.
        OSError: the file can't be written.
    """
    check_can_draw()
    path.write_text(page(comparison, title), encoding="utf-8")


def page(comparison: Comparison, title: str) -> str:
    """The page's text. Raises ImportError where plotly isn't installed."""
    from plotly.offline import get_plotlyjs

    template = files("torch_remote._emulation").joinpath("page.html").read_text(encoding="utf-8")
    values = {
        "title": escape(title),
        "summary": escape(_summary(comparison)),
        "table": html_table(comparison),
        "choices": "".join(
            f'<option value="{number}">{escape(row.gpu)}</option>'
            for number, row in enumerate(comparison.rows)
        ),
        "figures": _for_script(_figures(comparison)),
        "plotly": get_plotlyjs(),
    }
    for name, value in values.items():
        template = template.replace("{{" + name + "}}", value)
    return template


def _for_script(value: object) -> str:
    """JSON that can stand within a script element."""
    return json.dumps(value).replace("</", "<\\/")


def _summary(comparison: Comparison) -> str:
    fitting = [row for row in comparison.rows if row.fits]
    text = f"{comparison.operations:,} operations. "
    text += f"Fits {len(fitting)} of {len(comparison.rows)} GPUs" if fitting else "Fits no GPU"
    timed = [row for row in fitting if row.step_time_s is not None]
    if not timed:
        return f"{text}."
    fastest = min(timed, key=lambda row: row.step_time_s or 0)
    text += f"; fastest {fastest.gpu}, {duration(fastest.step_time_s or 0)} a step"
    prices = [(row.price_usd_per_step, row.gpu) for row in timed if row.price_usd_per_step]
    if not prices:
        return f"{text}."
    price, cheapest = min(prices)
    return f"{text}; cheapest {cheapest}, ${rounded(1000 * price)} a thousand steps."


def _figures(comparison: Comparison) -> dict[str, Any]:
    """Plotly's figures by the ids of their places; those of one GPU in the order of the rows."""
    rows = comparison.rows
    figures: dict[str, Any] = {"peaks": _peaks(rows)}
    if any(row.step_time_s is not None for row in rows):
        figures["times"] = _bars(
            rows,
            [row.step_time_s and row.step_time_s * 1e3 for row in rows],
            [duration(row.step_time_s) if row.step_time_s else "" for row in rows],
            "time of a step, ms",
        )
        figures["prices"] = _bars(
            rows,
            [row.price_usd_per_step and 1000 * row.price_usd_per_step for row in rows],
            [
                f"${rounded(1000 * row.price_usd_per_step)}" if row.price_usd_per_step else ""
                for row in rows
            ],
            "price of a thousand steps, US dollars",
        )
    figures["memory"] = [_memory(row) for row in rows]
    figures["operators"] = [_operators(row) for row in rows]
    return figures


def _colours(rows: Sequence[GpuRun], fitting: str, short: str) -> list[str]:
    return [fitting if row.fits else short for row in rows]


def _peaks(rows: Sequence[GpuRun]) -> dict[str, Any]:
    gpus = [row.gpu for row in rows]
    allocated = [row.allocated_bytes_peak / _GIB for row in rows]
    reserved = [row.reserved_bytes_peak / _GIB for row in rows]
    usable = [row.usable_bytes / _GIB for row in rows]
    label = "%{y}: %{x:.2f} GiB<extra>"
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": "reserved",
            "y": gpus,
            "x": reserved,
            "marker": {"color": _colours(rows, _PALE_BLUE, _PALE_ORANGE)},
            "width": 0.62,
            "hovertemplate": label + "reserved at most</extra>",
        },
        {
            "type": "bar",
            "orientation": "h",
            "name": "allocated",
            "y": gpus,
            "x": allocated,
            "marker": {"color": _colours(rows, _BLUE, _ORANGE)},
            "width": 0.34,
            "hovertemplate": label + "allocated at most</extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "memory of the GPU",
            "y": gpus,
            "x": usable,
            "marker": {"symbol": "line-ns", "size": 20, "line": {"width": 3, "color": "ink"}},
            "hovertemplate": label + "usable memory</extra>",
        },
    ]
    return _horizontal(data, "GiB", len(rows), barmode="overlay")


def _bars(
    rows: Sequence[GpuRun], values: Sequence[float | None], texts: Sequence[str], title: str
) -> dict[str, Any]:
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "y": [row.gpu for row in rows],
            "x": list(values),
            "text": list(texts),
            "textposition": "outside",
            "cliponaxis": False,
            "marker": {"color": _colours(rows, _BLUE, _PALE_ORANGE)},
            "width": 0.62,
            "hovertemplate": "%{y}: %{text}<extra></extra>",
        }
    ]
    figure = _horizontal(data, title, len(rows))
    largest = max((value for value in values if value), default=1)
    figure["layout"]["xaxis"]["range"] = [0, 1.22 * largest]  # room for the texts
    return figure


def _horizontal(data: list[dict[str, Any]], title: str, bars: int, **layout: Any) -> dict[str, Any]:
    return {
        "data": data,
        "layout": {
            "height": _ROW_HEIGHT * bars + 70,
            "margin": {"l": 12, "r": 16, "t": 6, "b": 50},
            "showlegend": False,
            "xaxis": {"title": {"text": title, **_AXIS_TITLE}, "rangemode": "tozero"},
            "yaxis": {"autorange": "reversed", "automargin": True, "ticksuffix": "  "},
            **layout,
        },
    }


def _memory(row: GpuRun) -> dict[str, Any]:
    times = [point.time_s for point in row.memory]
    by_time = len(set(times)) > 1
    places = times if by_time else [point.operation for point in row.memory]
    unit, factor = _time_unit(max(places, default=0)) if by_time else ("operations", 1.0)
    places = [place * factor for place in places]

    def line(name: str, values: Sequence[int], colour: str, fill: str) -> dict[str, Any]:
        return {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": places,
            "y": [value / _GIB for value in values],
            "line": {"color": colour, "width": 1.6, "shape": "hv"},
            "fill": fill,
            "hovertemplate": "%{y:.3f} GiB<extra>" + name + "</extra>",
        }

    reserved = [point.reserved_bytes for point in row.memory]
    data = [
        line("reserved", reserved, _MIDDLE_BLUE, "none"),
        line("allocated", [point.allocated_bytes for point in row.memory], _BLUE, "tozeroy"),
    ]
    layout: dict[str, Any] = {
        "height": 340,
        "margin": {"l": 12, "r": 16, "t": 30, "b": 50},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "x": 0, "y": 1.12, "yanchor": "top"},
        "xaxis": {"title": {"text": f"time, {unit}" if by_time else unit, **_AXIS_TITLE}},
        "yaxis": {
            "title": {"text": "GiB", **_AXIS_TITLE},
            "rangemode": "tozero",
            "automargin": True,
        },
    }
    usable = row.usable_bytes / _GIB
    # A line far above everything would leave nothing to see below it.
    if max(reserved, default=0) / _GIB > 0.4 * usable and places:
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"memory of the {row.gpu}, {gibibytes(row.usable_bytes)}",
                "x": [places[0], places[-1]],
                "y": [usable, usable],
                "line": {"color": _ORANGE, "width": 2, "dash": "dash"},
                "hoverinfo": "skip",
            }
        )
    return {"data": data, "layout": layout}


def _time_unit(longest_s: float) -> tuple[str, float]:
    return ("s", 1.0) if longest_s >= 1 else ("ms", 1e3) if longest_s >= 1e-3 else ("us", 1e6)


def _operators(row: GpuRun) -> dict[str, Any]:
    uses = sorted(row.operators, key=lambda use: -use.gpu_time_us)[:_OPERATORS_SHOWN]
    total_us = sum(use.gpu_time_us for use in row.operators) or 1.0
    names = [use.name.removeprefix("aten::") for use in uses]
    shares = [100 * use.gpu_time_us / total_us for use in uses]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "y": names,
            "x": shares,
            "text": [duration(use.gpu_time_us * 1e-6) for use in uses],
            "customdata": [use.calls for use in uses],
            "textposition": "outside",
            "cliponaxis": False,
            "marker": {"color": _BLUE},
            "width": 0.62,
            "hovertemplate": "%{y}: %{text}, %{x:.1f} %, %{customdata:,} calls<extra></extra>",
        }
    ]
    figure = _horizontal(data, "percent of the GPU's work", len(uses))
    figure["layout"]["xaxis"]["range"] = [0, 1.2 * max(shares, default=1)]
    return figure
