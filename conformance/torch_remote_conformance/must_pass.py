# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cases that every executor has to pass, as lists by version of torch.

A list has what PyTorch's tables claim for CPU and for CUDA alike, at the levels below L5, without what is waived. So a
case that vanishes, since a target claims less or a table was not read, is missed by name. The hash of a list names
it in reports.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from torch_remote_conformance import catalogue, waivers
from torch_remote_conformance.case import Level, Result, Status
from torch_remote_conformance.catalogue import Selection
from torch_remote_conformance.target import Target

FOLDER = Path(__file__).with_name("must_pass")
_HEADER = """\
# Cases that every executor has to pass with torch {version}: L1 to L4 of what PyTorch claims for CPU and CUDA alike.
# A line is a subject, and behind it what is tested of it; `torch-remote conformance must-pass` writes this file.
"""


@dataclass(frozen=True)
class MustPass:
    """The list of one version of torch."""

    #: Such as "2.13".
    version: str
    #: All ids, with their levels.
    levels: Mapping[str, Level]

    @property
    def sha256(self) -> str:
        """Of the sorted ids, a line each."""
        return hashlib.sha256("\n".join(sorted(self.levels)).encode()).hexdigest()

    def within(self, selection: Selection) -> set[str]:
        """Those that a run with this selection has to show."""
        return {name for name, level in self.levels.items() if selection.takes_id(name, level)}


def find(torch_version: str) -> MustPass | None:
    """The list for a version of torch; None where there is none.

    Raises:
        ValueError: the file is malformed.
    """
    version = minor(torch_version)
    file = FOLDER / f"torch-{version}.txt"
    if not file.exists():
        return None
    try:
        return MustPass(version, dict(_read(file.read_text(encoding="utf-8"))))
    except (KeyError, ValueError) as error:
        raise ValueError(f"{file.name}: {error}") from None


def missing(required: set[str], results: Iterable[Result]) -> list[str]:
    """Which of the required cases have not passed, or are not there."""
    return sorted(required - {one.id for one in results if one.status is Status.PASSED})


def minor(torch_version: str) -> str:
    """ "2.13.0+cpu" is of 2.13."""
    return ".".join(torch_version.split("+")[0].split(".")[:2])


def make() -> MustPass:
    """The list of the torch that is installed."""
    known = waivers.Waivers(waivers.read(), "emulator:T4", torch.__version__, dt.date.today())
    claimed = [_claimed(claims) for claims in ("cpu", "cuda")]
    levels = {
        name: level
        for name, level in claimed[0].items()
        if name in claimed[1]
        and known.apply(Result(name, level, "", Status.FAILED)).status is Status.FAILED
    }
    return MustPass(minor(torch.__version__), levels)


def write(made: MustPass, folder: Path = FOLDER) -> Path:
    """Writes a list for find; the same list gives the same bytes."""
    folder.mkdir(exist_ok=True)
    file = folder / f"torch-{made.version}.txt"
    text = "".join(f"{line}\n" for line in _lines(made.levels))
    file.write_text(_HEADER.format(version=made.version) + text, encoding="utf-8")
    return file


def _claimed(claims: str) -> dict[str, Level]:
    # Only names are asked for; nothing runs on this device.
    target = Target(
        f"torch:{claims}",
        torch.device(claims),
        computes_as_cpu=claims == "cpu",
        draws_as_cpu=claims == "cpu",
    )
    return {
        case.id: case.level
        for case in catalogue.cases(target, Selection(Level.L4))
        if case.level is not Level.L0
    }


def _lines(levels: Mapping[str, Level]) -> Iterator[str]:
    """ "op/abs L2:forward/float32,in_place/float32 L3:backward/float32"."""
    subjects: dict[str, dict[Level, list[str]]] = {}
    for name in sorted(levels):
        subject, aspect = _parted(name)
        by_level = subjects.setdefault(subject, {})
        by_level.setdefault(levels[name], []).append(aspect)
    for subject, by_level in subjects.items():
        parts = [f"{level.name}:{','.join(names)}" for level, names in sorted(by_level.items())]
        yield " ".join([subject, *parts])


def _parted(name: str) -> tuple[str, str]:
    """Family and subject, and what is tested of it; many families have no subjects."""
    parts = name.split("/")
    count = 2 if len(parts) > 2 else 1
    return "/".join(parts[:count]), "/".join(parts[count:])


def _read(text: str) -> Iterator[tuple[str, Level]]:
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        subject, *parts = line.split(" ")
        for part in parts:
            level, _, names = part.partition(":")
            for name in names.split(","):
                yield f"{subject}/{name}", Level[level]
