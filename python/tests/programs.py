# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Running Python programs and the executor in processes of their own, which end with the test."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[1]
EXECUTOR = PACKAGES / "torch_remote" / "bin" / "torch-remote-executor"
TIMEOUT_S = 120  # for what takes seconds: machines that run tests are busy


def environment(**changes: str | None) -> dict[str, str]:
    """This process's environment with the package on the path; None takes a variable out."""
    merged: dict[str, str | None] = dict(os.environ)
    path = os.environ.get("PYTHONPATH", "")
    merged["PYTHONPATH"] = os.pathsep.join(
        [str(PACKAGES), *path.split(os.pathsep)] if path else [str(PACKAGES)]
    )
    merged.update(changes)
    return {name: value for name, value in merged.items() if value is not None}


def run_python(
    program: str,
    *,
    options: tuple[str, ...] = (),
    variables: Mapping[str, str | None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a program text; the result has its exit code and what it printed."""
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program)],
        env=environment(**(variables or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def output_of(
    program: str,
    *,
    options: tuple[str, ...] = (),
    variables: Mapping[str, str | None] | None = None,
) -> str:
    """What a program prints that ends without an error or a word on standard error."""
    done = run_python(program, options=options, variables=variables)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def run_executor(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the executor with arguments that make it end by itself."""
    return subprocess.run(
        [EXECUTOR, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


class Executor:
    """An executor process that serves."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.announcement = process.stdout.readline().strip()
        words = [word for word in self.announcement.split() if "://" in word]
        self.endpoint = words[0] if words else ""

    @property
    def pid(self) -> int:
        """The process's number."""
        return self.process.pid

    def end(self, number: signal.Signals | None) -> tuple[int, str, str]:
        """Sends a signal, if one is given; returns exit code, remaining output and errors."""
        if number is not None:
            self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, output, errors


@contextmanager
def executor(*arguments: str) -> Iterator[Executor]:
    """A serving executor, by default of a free port, that is gone at the end."""
    with subprocess.Popen(
        [EXECUTOR, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            running = Executor(process)
            assert running.endpoint, process.communicate()[1]
            yield running
        finally:
            if process.poll() is None:
                process.kill()


def wait_for_end(pid: int) -> None:
    """Of a process that is no child, which can only be looked for. One that hangs shows by the time limit."""
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and ") Z " in status.read_text():
            return  # nobody has asked for its exit code yet
        time.sleep(0.01)
