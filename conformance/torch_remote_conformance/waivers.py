# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases that are known to fail: each with its reason, in waivers.json. They count in the score."""

import dataclasses
import datetime as dt
import fnmatch
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from torch_remote_conformance.case import Result, Status

KINDS = {
    "unsupported": Status.UNSUPPORTED,  #: it will never work
    "expected failure": Status.EXPECTED_FAILURE,  #: it does not work yet
}
FILE = Path(__file__).with_name("waivers.json")


def _fits_one(target: str, patterns: str) -> bool:
    return any(fnmatch.fnmatchcase(target, one) for one in patterns.split())


@dataclass(frozen=True)
class Waiver:
    """Says of cases that they fail."""

    #: Shell pattern of case ids.
    id: str
    reason: str
    #: One of KINDS.
    kind: str
    #: Versions of torch that it holds for, as pip writes them; empty for all.
    versions: str = ""
    #: Shell patterns of target names, with spaces between them.
    targets: str = "*"
    #: Shell patterns of those among them that it does not hold for.
    except_targets: str = ""
    #: The last day, YYYY-MM-DD; empty for no end.
    expires: str = ""

    def __post_init__(self) -> None:
        for name in ("id", "reason"):
            if not getattr(self, name).strip():
                raise ValueError(f"a waiver needs its {name}: {self}")
        if self.kind not in KINDS:
            raise ValueError(f"{self.id}: kind {self.kind!r} is none of {', '.join(KINDS)}")
        try:
            SpecifierSet(self.versions)
            if self.expires:
                dt.date.fromisoformat(self.expires)
        except (InvalidSpecifier, ValueError) as error:
            raise ValueError(f"{self.id}: {error}") from None

    def is_expired(self, today: dt.date) -> bool:
        """Whether its last day has passed."""
        return bool(self.expires) and today > dt.date.fromisoformat(self.expires)

    def concerns(self, target: str, torch_version: str) -> bool:
        """Whether it holds for such a run."""
        versions = SpecifierSet(self.versions)
        is_excepted = _fits_one(target, self.except_targets)
        is_meant = _fits_one(target, self.targets) and not is_excepted
        return is_meant and versions.contains(torch_version, prereleases=True)


def read(file: Path = FILE) -> list[Waiver]:
    """The waivers of a file.

    Raises:
        ValueError: it is no list of waivers; says which entry is wrong and why.
    """
    try:
        entries: Any = json.loads(file.read_text(encoding="utf-8"))
        return [Waiver(**entry) for entry in entries]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file.name}: {error}") from None


class Waivers:
    """Those that hold for a run."""

    def __init__(
        self, waivers: list[Waiver], target: str, torch_version: str, today: dt.date
    ) -> None:
        self._waivers = [
            waiver
            for waiver in waivers
            if waiver.concerns(target, torch_version) and not waiver.is_expired(today)
        ]

    def apply(self, result: Result) -> Result:
        """The result with the status that it has under these waivers."""
        waiver = next(
            (one for one in self._waivers if fnmatch.fnmatchcase(result.id, one.id)), None
        )
        if waiver is None or result.status is Status.NOT_RUN:
            return result
        status = Status.UNEXPECTED_PASS
        # A crash is never expected.
        if result.status is Status.FAILED:
            status = KINDS[waiver.kind]
        elif result.status is not Status.PASSED:
            status = result.status
        return dataclasses.replace(result, status=status, waiver=waiver.id)
