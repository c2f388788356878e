# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Limits that tests set: that a program fits into a GPU, how often it reads a value, what memory it takes."""

import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from torch_remote import remote
from torch_remote._devices import emulate, stats
from torch_remote._machines.machine import machine

_UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_UNITS |= {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))


def assert_fits(
    function: Callable[[torch.device], Any],
    gpu: str | os.PathLike[str] = "T4",
    *,
    dry_run: bool = False,
) -> int:
    """Calls a function with an emulated GPU, and fails where its memory is used up.

    Args:
        function: takes the device.
        gpu: one of torch_remote.GPU_TYPES, or the path of a file that describes one.
        dry_run: shapes and memory alone, for programs that this machine couldn't compute; values
            that it reads are zeros.

    Returns:
        The most bytes that tensors took.

    Raises:
        AssertionError: it doesn't fit; the message is CUDA's, with the line that asked for the
            memory as the cause's traceback. Whatever else the function raises.
    """
    device = emulate(gpu, dry_run=dry_run, on_read="zero")
    try:
        function(device)
        remote.synchronize(device)
        return remote.max_memory_allocated(device)
    except torch.OutOfMemoryError as error:
        raise AssertionError(f"it doesn't fit into the memory of a {gpu}: {error}") from error
    finally:
        machine(device).stop()


class max_host_reads:  # noqa: N801 (a context manager that reads as a sentence)
    """Fails where the program in a with statement reads values of a device more often than that.

    Reads (`.item()`, `.cpu()`, printing, masks) are what costs time on a GPU and on a network: the
    program waits. Operators whose result's shape depends on values count as well.

    Args:
        limit: how many round trips may be made.
        device: default: the current remote device.

    Raises:
        AssertionError: at the end, with the lines that read.
    """

    def __init__(self, limit: int, device: torch.device | str | int | None = None) -> None:
        if limit < 0:
            raise ValueError(f"the limit is {limit}; it has to be 0 or more")
        self.limit = limit
        self.device = device
        #: How many there were, after the with statement.
        self.reads = 0
        self._before = 0
        self._where: _Where | None = None

    def __enter__(self) -> "max_host_reads":
        self._where = _Where(self.device)
        self._where.__enter__()  # type: ignore[no-untyped-call]  # torch types it nowhere
        self._before = stats(self.device).round_trips
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._where is not None
        self._where.__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
        self.reads = stats(self.device).round_trips - self._before
        if error is None and self.reads > self.limit:
            lines = "".join(f"\n  {count} at {line}" for line, count in self._where.lines.items())
            raise AssertionError(
                f"{self.reads} reads of the device's values, but at most {self.limit} are allowed{lines}"
            )


class max_memory:  # noqa: N801 (as above)
    """Fails where tensors take more memory of a device in a with statement than that, at their peak.

    What lives before counts, for it takes memory as well.

    Args:
        limit: bytes, or a text such as "2GiB" or "500 MB".
        device: default: the current remote device.

    Raises:
        ValueError: no size. AssertionError: at the end, with both sizes.
    """

    def __init__(self, limit: int | str, device: torch.device | str | int | None = None) -> None:
        self.limit_bytes = size_in_bytes(limit)
        self.device = device
        #: The most bytes that tensors took, after the with statement.
        self.peak_bytes = 0

    def __enter__(self) -> "max_memory":
        remote.reset_peak_memory_stats(self.device)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.peak_bytes = remote.max_memory_allocated(self.device)
        if error is None and self.peak_bytes > self.limit_bytes:
            raise AssertionError(
                f"tensors took {self.peak_bytes:,} bytes, but at most {self.limit_bytes:,} are allowed"
            )


def size_in_bytes(size: int | str) -> int:
    """A size as people write it: 1024, "2GiB", "1.5 GiB", "500MB". Raises TypeError or ValueError."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    if not isinstance(size, str):
        raise TypeError(f'a size is a number of bytes or a text such as "2GiB", not {size!r}')
    matched = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", size)
    if matched is None or matched[2] not in _UNITS:
        raise ValueError(
            f'{size!r} is no size: write it as "2GiB", with one of {", ".join(_UNITS)[2:]}'
        )
    return int(float(matched[1]) * _UNITS[matched[2]])


class _Where(TorchDispatchMode):
    """Which lines of the program make round trips."""

    def __init__(self, device: torch.device | str | int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = device
        self.lines: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, _types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        before = stats(self._device).round_trips
        result = function(*arguments, **(options or {}))
        count = stats(self._device).round_trips - before
        if count:
            self.lines[_users_line()] += count
        return result


def _users_line() -> str:
    """The innermost that is neither PyTorch's nor this package's."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
