# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A report as a page that shows what fails at a glance, and as a badge. Both are single files without links."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import jinja2

from torch_remote_conformance.case import Level, Result, Status
from torch_remote_conformance.report import Report

_TEMPLATE = Path(__file__).with_name("page.html.jinja")

_KINDS = {
    Status.PASSED: "passed",
    Status.UNSUPPORTED: "waived",
    Status.EXPECTED_FAILURE: "waived",
    Status.NOT_RUN: "absent",
}
#: A subject shows the worst of its cases.
_WORST_FIRST = ("failed", "absent", "waived", "passed")
_COLOURS = {True: "#2da44e", False: "#cf222e"}


def write_page(report: Report, file: Path, reasons: Mapping[str, str]) -> None:
    """Writes the page.

    Args:
        report: what it shows.
        file: where it goes.
        reasons: of the waivers, by their patterns.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    file.write_text(template.render(_content(report, reasons)), encoding="utf-8")


def write_badge(report: Report, file: Path) -> None:
    """Writes a small SVG: the highest level, and whether it is green."""
    left = "conformance"
    right = f"{report.environment['level']} {_verdict(report)}"
    widths = [7 * len(text) + 12 for text in (left, right)]  # Verdana's digits at 11 px are 7 wide
    total = sum(widths)
    middles = (widths[0] / 2, widths[0] + widths[1] / 2)
    texts = "".join(
        f'<text x="{middle:g}" y="14">{escape(text)}</text>'
        for middle, text in zip(middles, (left, right), strict=True)
    )
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img" '
        f'aria-label="{escape(left)}: {escape(right)}">'
        f'<rect width="{total}" height="20" rx="3" fill="#555"/>'
        f'<rect x="{widths[0]}" width="{widths[1]}" height="20" rx="3" fill="{_COLOURS[report.is_green]}"/>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,sans-serif" font-size="11">{texts}</g></svg>\n',
        encoding="utf-8",
    )


@dataclass
class _Subject:
    """An operator, module or whatever else cases are about."""

    name: str
    results: list[Result] = field(default_factory=list)

    @property
    def kind(self) -> str:
        kinds = {_KINDS.get(one.status, "failed") for one in self.results}
        return next(kind for kind in _WORST_FIRST if kind in kinds)

    @property
    def text(self) -> str:
        counts = Counter(one.status.value for one in self.results)
        return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))


def _content(report: Report, reasons: Mapping[str, str]) -> dict[str, Any]:
    families = _families(report.results)
    return {
        "target": report.environment["target"],
        "environment": report.environment,
        "packages": report.environment.get("packages", {}),
        "verdict": _verdict(report),
        "colour": "good" if report.is_green else "bad",
        "summary": report.summary(),
        "must_pass": report.must_pass(),
        "levels": list(_levels(report.results)),
        "families": [
            {"name": name, "subjects": subjects} for name, subjects in sorted(families.items())
        ],
        "failing": [
            _Subject(one.name, [result for result in one.results if not result.status.is_good])
            for subjects in families.values()
            for one in subjects
            if one.kind in ("failed", "absent")
        ],
        "waived": [one for one in report.results if _KINDS.get(one.status) == "waived"],
        "reasons": reasons,
        "facts": list(_facts(report.environment)),
    }


def _verdict(report: Report) -> str:
    return "passed" if report.is_green else "failed"


def _families(results: Sequence[Result]) -> dict[str, list[_Subject]]:
    found: dict[str, dict[str, _Subject]] = {}
    for result in sorted(results, key=lambda one: one.id):
        family = found.setdefault(result.id.partition("/")[0], {})
        family.setdefault(result.subject, _Subject(result.subject)).results.append(result)
    return {name: list(subjects.values()) for name, subjects in found.items()}


def _levels(results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    counts: dict[int, Counter[Status]] = {}
    for result in results:
        counts.setdefault(result.level, Counter())[result.status] += 1
    for level in sorted(counts):
        parts = [
            {"status": status.value, "count": count, "kind": _KINDS.get(status, "failed")}
            for status, count in counts[level].most_common()
        ]
        yield {"name": Level(level).name, "parts": parts}


def _facts(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in environment.items():
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield f"{name}: {key}", str(inner)
        else:
            yield name, str(value)
