# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the user sees during a start: one line with the elapsed time, and the logs above it."""

import contextlib
import importlib
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from torch_remote.providers.interface import Progress


@contextlib.contextmanager
def shown(title: str) -> Iterator[Progress]:
    """On a terminal where rich is installed; quiet everywhere else."""
    console = _console()
    if console is None:
        yield Progress()
        return
    progress = _TerminalProgress(console, title)
    with progress.live:
        yield progress


class _TerminalProgress(Progress):
    visible = True

    def __init__(self, console: Any, title: str) -> None:
        self._console = console
        self._title = title
        self._stage = "starting"
        self._started_at = time.monotonic()
        self._spinner = importlib.import_module("rich.spinner").Spinner("dots")
        # rich asks for the text at each frame, the first in here: that is how the time goes on.
        self.live = importlib.import_module("rich.live").Live(
            get_renderable=self._line, console=console, refresh_per_second=4, transient=True
        )

    def stage(self, text: str) -> None:
        self._stage = text

    def log(self, line: str) -> None:
        self._console.print(line.rstrip("\n"), style="dim", markup=False, highlight=False)

    def suspended(self) -> AbstractContextManager[None]:
        return self._suspended()

    @contextlib.contextmanager
    def _suspended(self) -> Iterator[None]:
        self.live.stop()
        try:
            yield
        finally:
            self.live.start()

    def _line(self) -> Any:
        elapsed_s = time.monotonic() - self._started_at
        self._spinner.update(text=f"{self._title}: {self._stage} ({duration(elapsed_s)})")
        return self._spinner


def duration(seconds: float) -> str:
    """For people: "42 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counted(gpu_count: int, gpu_type: str) -> str:
    """For people: "H100", "2 x H100"."""
    return gpu_type if gpu_count == 1 else f"{gpu_count} x {gpu_type}"


def size(size_bytes: float) -> str:
    """For people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"


def _console() -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        return importlib.import_module("rich.console").Console(stderr=True)
    except ImportError:
        return None
