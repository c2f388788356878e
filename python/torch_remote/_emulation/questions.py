# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a program asks about its GPU: where the answers differ, the program may go another way."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from torch_remote._gpus import GpuProperties

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from torch_remote._gpus import Gpu

_FIELDS = frozenset(field.name for field in dataclasses.fields(GpuProperties))
_NAMES = {"major": "compute capability", "minor": "compute capability"}

_asked: set[str] | None = None


class _WatchedProperties(GpuProperties):
    """Notes which of its values are looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name in _FIELDS:
            note_question(name)
        return super().__getattribute__(name)


def watched(properties: GpuProperties) -> GpuProperties:
    """The same properties; while questions are collected, those that note what is asked of them."""
    if _asked is None:
        return properties
    return _WatchedProperties(**dataclasses.asdict(properties))


def note_question(field: str) -> None:
    """The program learns one of GpuProperties' fields of its GPU, by whatever way."""
    if _asked is not None:
        _asked.add(field)


@contextlib.contextmanager
def collecting_questions() -> Iterator[set[str]]:
    """The fields that were asked for while it lasts."""
    global _asked
    before, _asked = _asked, set()
    try:
        yield _asked
    finally:
        _asked = before


def differing_answers(asked: Collection[str], gpu: Gpu, other: Gpu) -> str:
    """Why the program could behave differently on the other GPU; empty where it couldn't."""
    mine, theirs = gpu.properties, other.properties
    fields = [name for name in sorted(asked) if getattr(mine, name) != getattr(theirs, name)]
    names = dict.fromkeys(_NAMES.get(name, name.replace("_", " ")) for name in fields)
    return f"for the program asks for the GPU's {' and '.join(names)}" if names else ""
