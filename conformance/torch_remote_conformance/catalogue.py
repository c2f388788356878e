# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""All cases that there are for a target, and which of them a run takes."""

import fnmatch
import importlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch_remote_conformance.case import Case, Level
from torch_remote_conformance.target import Target

#: Modules with a function cases(target), and the lowest level of their cases.
FAMILIES: dict[str, Level] = {
    "torch_remote_conformance.protocol": Level.L0,
    "torch_remote_conformance.executor_storages": Level.L1,
    "torch_remote_conformance.memory": Level.L1,
    "torch_remote_conformance.copies": Level.L1,
    "torch_remote_conformance.views": Level.L1,
    "torch_remote_conformance.programs": Level.L1,
    "torch_remote_conformance.generators": Level.L2,
    "torch_remote_conformance.operators": Level.L2,
    "torch_remote_conformance.modules": Level.L3,
    "torch_remote_conformance.optimizers": Level.L3,
    "torch_remote_conformance.foreach": Level.L3,
    "torch_remote_conformance.unlisted": Level.L3,
    "torch_remote_conformance.special": Level.L3,
    "torch_remote_conformance.late_errors": Level.L3,
    "torch_remote_conformance.leaks": Level.L3,
    "torch_remote_conformance.mixed_precision": Level.L4,
    "torch_remote_conformance.random_numbers": Level.L4,
    "torch_remote_conformance.several_devices": Level.L5,
    "torch_remote_conformance.streams": Level.L5,
    "torch_remote_conformance.faults": Level.L5,
}


@dataclass(frozen=True)
class Selection:
    """Which cases a run takes."""

    #: These, and all levels below.
    level: Level = Level.L5
    #: Shell pattern of case ids, such as "op/linalg.*".
    pattern: str = "*"
    #: Number and count: of so many runs that share the cases, this is the one with that number, from 1.
    shard: tuple[int, int] = (1, 1)
    families: Sequence[str] = tuple(FAMILIES)

    @property
    def needs_device(self) -> bool:
        """Whether a case may need PyTorch's device: those of L0 speak to the executor themselves."""
        return self.level > Level.L0

    @classmethod
    def of_environment(cls, environment: Mapping[str, Any]) -> "Selection":
        """The selection that a report's environment tells; all cases where it tells none.

        Raises:
            ValueError: it is none.
        """
        try:
            number, count = map(int, environment.get("shard", "1/1").split("/"))
            level = Level[environment.get("level", Level.L5.name)]
        except (AttributeError, KeyError, ValueError) as error:
            raise ValueError(f"no selection of cases: {error}") from None
        return cls(level, environment.get("filter", "*"), (number, count))

    def takes(self, case: Case) -> bool:
        """Whether a case belongs to the run."""
        return self.takes_id(case.id, case.level)

    def takes_id(self, name: str, level: Level) -> bool:
        """Whether the case of that id does."""
        number, count = self.shard
        # By the id alone, so that a case that is added moves no other to another shard.
        return (
            level <= self.level
            and fnmatch.fnmatchcase(name, self.pattern)
            and zlib.crc32(name.encode()) % count == number - 1
        )


def cases(target: Target, selection: Selection) -> Iterator[Case]:
    """The selected cases, family by family."""
    for family in selection.families:
        if FAMILIES.get(family, Level.L0) > selection.level:
            continue  # importing PyTorch's own tables takes seconds
        yield from filter(selection.takes, importlib.import_module(family).cases(target))
