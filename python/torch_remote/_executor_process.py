# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The executor program: finding it, and running one on this machine."""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from types import TracebackType

from _torch_remote_executor import PROGRAM, environment, missing

from torch_remote._arguments import whole_number
from torch_remote._own_gpu import emulating


class LocalExecutor:
    """An executor in a process of its own on this machine, reached over TCP on loopback.

    Use it as a context manager, or call :meth:`stop`; it ends with this process, and with the
    last process that was forked from this one, in any case.

        with torch_remote.LocalExecutor(emulate="T4") as executor:
            device = torch_remote.connect(executor.endpoint)
            ...
            torch_remote.machine(device).stop()

    Args:
        device: what computes: "cpu", "cuda" in builds that have it, or "null" for nothing at all.
        emulate: a GPU type that the executor emulates, or the path of a file that describes one.
        device_count: devices to choose from, by connect's device_index.
        libraries: files with operators beside PyTorch's own, as torch.ops.load_library takes them.
        arguments: further arguments of torch-remote-executor.

    Raises:
        RuntimeError: the program ended instead of serving; the message is its own.
        ValueError: something in a GPU's file can't be right.
        FileNotFoundError: there is no program; the message says what to do.
    """

    def __init__(
        self,
        *,
        device: str = "cpu",
        emulate: str | os.PathLike[str] | None = None,
        device_count: int = 1,
        libraries: Sequence[str | os.PathLike[str]] = (),
        arguments: tuple[str, ...] = (),
    ) -> None:
        command = [
            str(PROGRAM),
            "--device",
            device,
            "--bind",
            "tcp://127.0.0.1:0",
            "--exit-with-parent",
            *arguments,
        ]
        if device_count != 1:
            command += ["--device-count", str(whole_number("device_count", device_count, 1, 128))]
        if emulate is not None:
            command += emulating(emulate)
        for library in libraries:
            command += ["--load-library", os.fspath(library)]
        if not PROGRAM.exists():
            raise FileNotFoundError(missing())
        # A file takes any number of warnings; a pipe that nobody reads would block the executor at last.
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (as long as the process)
        # Its standard input closes when this process ends, however that happens. Ctrl-C on the terminal
        # interrupts this program, which may want to go on with the device: hence a session of its own.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
            env=environment(),
        )
        self._owner = os.getpid()
        assert self.process.stdout is not None
        announcement = self.process.stdout.readline()
        found = re.search(r" on (\w+://\S+)", announcement)
        if found is None:
            self.process.communicate()
            self._errors.seek(0)
            raise RuntimeError(
                self._errors.read().strip() or "torch-remote-executor ended without a word"
            )
        #: Where it serves, for :func:`torch_remote.connect`.
        self.endpoint = found.group(1)

    def stop(self) -> None:
        """Ends the process and waits for its end. Does nothing in a forked child, whose it is not."""
        if os.getpid() != self._owner:
            return
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self._errors.close()

    def __enter__(self) -> "LocalExecutor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
