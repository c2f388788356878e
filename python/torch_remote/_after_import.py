# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Adapting a module that a program may never import, at the moment when it is imported.

PyTorch's compiler takes a second to import, and has no entry point for what it should know of a device before
it is used.
"""

import importlib.abc
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

Adapt = Callable[[ModuleType], None]


def call_after_import(adaptations: dict[str, Adapt]) -> None:
    """Calls a function with each named module: now, where it is imported already, or right after its import.

    A name whose module is being imported by another thread at this moment is not noticed.
    """
    waiting: dict[str, Adapt] = {}
    for name, adapt in adaptations.items():
        if name in sys.modules:
            adapt(sys.modules[name])
        else:
            waiting[name] = adapt
    if waiting:
        sys.meta_path.insert(0, _Finder(waiting))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds nothing itself: it lets the others find, and adds a step to the execution of what they found."""

    def __init__(self, waiting: dict[str, Adapt]) -> None:
        self._waiting = waiting
        # Names that are being looked for: another finder of this kind asks this one in turn.
        self._looking: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        adapt = self._waiting.get(fullname)
        if adapt is None or fullname in self._looking:
            return None
        self._looking.add(fullname)
        try:
            spec = self._found_by_others(fullname, path, target)
        finally:
            self._looking.discard(fullname)
        if spec is not None and spec.loader is not None:
            _adapt_after_execution(spec.loader, adapt)
        return spec

    def _found_by_others(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(fullname, path, target)
            if spec is not None:
                found: ModuleSpec = spec
                return found
        return None


def _adapt_after_execution(loader: importlib.abc.Loader, adapt: Adapt) -> None:
    """The loader is this one import's own: its kind, and what it says of the source, stay what they are."""
    execute = loader.exec_module

    def execute_and_adapt(module: ModuleType) -> None:
        execute(module)
        adapt(module)

    setattr(loader, "exec_module", execute_and_adapt)  # noqa: B010 (mypy: a method)
