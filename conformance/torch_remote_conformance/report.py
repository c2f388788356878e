# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report of a run: plain data that anybody can check and compare."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from torch_remote_conformance import must_pass
from torch_remote_conformance.case import Level, Result, Status
from torch_remote_conformance.catalogue import Selection
from torch_remote_conformance.environment import torch_version

SCHEMA = 1


@dataclass
class Report:
    """What a run was, and what came of each case."""

    #: Target, versions, platform, seed and selection.
    environment: dict[str, Any]
    results: list[Result] = field(default_factory=list)

    @property
    def is_green(self) -> bool:
        """Whether there were cases, all are good, and none that has to pass is missing."""
        are_good = all(result.status.is_good for result in self.results)
        return bool(self.results) and are_good and not self.must_pass()["missing"]

    def must_pass(self) -> dict[str, Any]:
        """The list of the cases that have to pass with this torch, its hash, and which of them did not."""
        found = must_pass.find(torch_version(self.environment))
        if found is None:
            return {"list": "", "sha256": "", "required": 0, "missing": []}
        required = found.within(Selection.of_environment(self.environment))
        return {
            "list": f"torch-{found.version}",
            "sha256": found.sha256,
            "required": len(required),
            "missing": must_pass.missing(required, self.results),
        }

    def summary(self) -> dict[str, Any]:
        """Counts by level and status, the score, and a hash of the passed cases' ids."""
        levels: dict[str, Counter[str]] = {}
        for result in self.results:
            levels.setdefault(Level(result.level).name, Counter())[result.status.value] += 1
        passed = sorted(one.id for one in self.results if one.status is Status.PASSED)
        return {
            "levels": {
                name: dict(sorted(counts.items())) for name, counts in sorted(levels.items())
            },
            "cases": len(self.results),
            "samples": sum(result.samples for result in self.results),
            "failed_samples": sum(result.failed for result in self.results),
            #: A waived case is no pass.
            "score": round(len(passed) / len(self.results), 6) if self.results else 0.0,
            "passed_sha256": hashlib.sha256("\n".join(passed).encode()).hexdigest(),
            "must_pass": self.must_pass(),
        }

    def as_json(self) -> dict[str, Any]:
        """Plain data, cases sorted by id."""
        return {
            "schema": SCHEMA,
            "environment": self.environment,
            "summary": self.summary(),
            "results": [one.as_json() for one in sorted(self.results, key=lambda one: one.id)],
        }

    def write(self, file: Path) -> None:
        """Writes the JSON form."""
        file.write_text(json.dumps(self.as_json(), indent=1) + "\n", encoding="utf-8")

    def write_junit(self, file: Path) -> None:
        """Writes the form that CI systems show: a test case for each case."""
        suite = ET.Element("testsuite", name=f"conformance {self.environment['target']}")
        for result in self.results:
            group, _, name = result.id.partition("/")
            case = ET.SubElement(
                suite, "testcase", classname=group, name=name, time=str(result.seconds)
            )
            if result.status.is_good:
                if result.status is not Status.PASSED:
                    ET.SubElement(case, "skipped", message=result.waiver)
                continue
            kind = "error" if result.status is Status.CRASHED else "failure"
            failure = ET.SubElement(case, kind, message=result.status.value)
            failure.text = "\n\n".join(_printable(one.message) for one in result.failures)
        ET.ElementTree(suite).write(file, encoding="utf-8", xml_declaration=True)


def read(file: Path) -> Report:
    """A report that `write` wrote.

    Raises:
        ValueError: it is none, or its summary isn't that of its results.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"its schema is {data['schema']}; this version reads {SCHEMA}")
        report = Report(data["environment"], [Result.from_json(one) for one in data["results"]])
        told = data["summary"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is no report: {error}") from None
    counted = report.summary()
    wrong = [name for name, value in counted.items() if told.get(name) != value]
    if wrong:
        raise ValueError(
            f"{file}: its summary does not follow from its results: {', '.join(wrong)}"
        )
    twice = [name for name, count in Counter(one.id for one in report.results).items() if count > 1]
    if twice:
        raise ValueError(f"{file}: {twice[0]} is there more than once")
    return report


def changes(old: Iterable[Result], new: Iterable[Result]) -> list[tuple[str, str, str]]:
    """Cases whose status changed: id, status before and after; "absent" where there is no such case."""
    before = {result.id: result.status.value for result in old}
    after = {result.id: result.status.value for result in new}
    return [
        (name, before.get(name, "absent"), after.get(name, "absent"))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _printable(text: str) -> str:
    """Without the control characters that XML can't hold."""
    return "".join(one for one in text if one in "\n\t" or ord(one) >= 32)
