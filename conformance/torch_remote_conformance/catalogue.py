# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""All cases that there are for a target, and which of them a run takes."""

import fnmatch
import importlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch_remote_conformance.case import Case, Level
from torch_remote_conformance.target import Target

#: Modules with a function cases(target).
FAMILIES: tuple[str, ...] = (
    "torch_remote_conformance.operators",
    "torch_remote_conformance.modules",
    "torch_remote_conformance.optimizers",
)


@dataclass(frozen=True)
class Selection:
    """Which cases a run takes."""

    #: These, and all levels below.
    level: Level = Level.L5
    #: Shell pattern of case ids, such as "op/linalg.*".
    pattern: str = "*"
    #: Number and count: of so many runs that share the cases, this is the one with that number, from 1.
    shard: tuple[int, int] = (1, 1)
    families: Sequence[str] = FAMILIES

    def takes(self, case: Case) -> bool:
        """Whether a case belongs to the run."""
        number, count = self.shard
        # By the id alone, so that a case that is added moves no other to another shard.
        return (
            case.level <= self.level
            and fnmatch.fnmatchcase(case.id, self.pattern)
            and zlib.crc32(case.id.encode()) % count == number - 1
        )


def cases(target: Target, selection: Selection) -> Iterator[Case]:
    """The selected cases, family by family."""
    for family in selection.families:
        yield from filter(selection.takes, importlib.import_module(family).cases(target))
