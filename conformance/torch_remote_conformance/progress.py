# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a person sees of a run: a bar on a terminal where rich is installed, else a line each tenth; and failures."""

import importlib
import sys
from types import TracebackType
from typing import Any

from torch_remote_conformance.case import Result, Status

#: Without a terminal, as in CI: so many lines in all.
_LINES = 10


class ProgressBar:
    """A with block around a run: counts results, and prints the failed ones as they come.

    Failures go to standard output; what goes away again, to standard error.
    """

    def __init__(self) -> None:
        self._total = 0
        self._count = 0
        self._bad = 0
        self._bar = _bar()
        self._task: Any = None

    def __enter__(self) -> "ProgressBar":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=None, last="starting")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def expect(self, total: int) -> None:
        """So many cases will come."""
        self._total = total
        if self._bar is not None:
            self._bar.update(self._task, total=total)

    def add(self, result: Result) -> None:
        """A case has ended."""
        self._count += 1
        if not result.status.is_good:
            self._bad += 1
            if result.status is not Status.NOT_RUN:
                self._tell(result)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._count, last=self._state(result.id))
        elif self._total and self._is_a_tenth():
            print(f"{self._count} of {self._total} cases, {self._bad} failed", file=sys.stderr)

    def _state(self, last: str) -> str:
        bad = f"{self._bad} failed, " if self._bad else ""
        return f"{bad}{last[:48]}"

    def _is_a_tenth(self) -> bool:
        done, before = self._count * _LINES, (self._count - 1) * _LINES
        return done // self._total > before // self._total

    def _tell(self, result: Result) -> None:
        lines = [f"{result.status.value}: {result.id}: {result.failed} of {result.samples} samples"]
        lines += [f"  {one.label}\n  {one.message}" for one in result.failures[:1]]
        if self._bar is not None:
            self._bar.console.print("\n".join(lines), markup=False, highlight=False)
        else:
            print("\n".join(lines), flush=True)


def _bar() -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        progress = importlib.import_module("rich.progress")
        console = importlib.import_module("rich.console").Console(stderr=not sys.stdout.isatty())
    except ImportError:
        return None
    return progress.Progress(
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.fields[last]}", markup=False),
        console=console,
        transient=True,
    )
