# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a program asks about its GPU: where the answers differ, the program may go another way."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Final

import torch

from torch_remote._gpus import GpuProperties

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from torch_remote._gpus import Gpu

#: How much memory is free: no property, and another answer on every other GPU.
FREE_MEMORY: Final = "free_memory"

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
    """The program learns FREE_MEMORY or one of GpuProperties' fields, by whatever way."""
    if _asked is not None:
        _asked.add(field)


@contextlib.contextmanager
def collecting_questions() -> Iterator[set[str]]:
    """The fields that were asked for while it lasts."""
    global _asked
    before, _asked = _asked, set()
    try:
        with _watching_accelerator():
            yield _asked
    finally:
        _asked = before


@contextlib.contextmanager
def _watching_accelerator() -> Iterator[None]:
    """torch.accelerator.get_memory_info asks the device in C++; older versions don't have it."""
    if not hasattr(torch._C, "_accelerator_getMemoryInfo"):
        yield
        return
    ask = torch._C._accelerator_getMemoryInfo

    def ask_and_note(device_index: int) -> tuple[int, int]:
        note_question(FREE_MEMORY)
        return ask(device_index)

    torch._C._accelerator_getMemoryInfo = ask_and_note
    try:
        yield
    finally:
        torch._C._accelerator_getMemoryInfo = ask


def differing_answers(asked: Collection[str], gpu: Gpu, other: Gpu) -> str:
    """Why the program could behave differently on the other GPU; empty where it couldn't."""
    mine, theirs = gpu.properties, other.properties

    def differs(field: str) -> bool:
        if field == FREE_MEMORY:
            return gpu != other
        return bool(getattr(mine, field) != getattr(theirs, field))

    fields = [field for field in sorted(asked) if differs(field)]
    names = dict.fromkeys(_NAMES.get(name, name.replace("_", " ")) for name in fields)
    return f"for the program asks for the GPU's {' and '.join(names)}" if names else ""
