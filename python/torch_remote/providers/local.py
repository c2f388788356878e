# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The provider "local": a machine is a torch-remote-executor process on this one.

It goes on when the program that started it dies, until its lease ends, as a rented machine does.
A machine's folder has all that another process needs to find it: its tags, its process number, its
output, and a lock that its process holds until it ends, however that happens.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from _torch_remote_executor import PROGRAM, environment, missing

from torch_remote._machines.records import state_folder
from torch_remote.providers.interface import (
    MachineRequest,
    MachineStatus,
    Price,
    Progress,
    Provider,
    ProviderError,
    StartedMachine,
)

# The process writes its own number before it becomes the executor: a client that is killed at any
# moment leaves either no process, or one that can be found.
_SCRIPT = 'echo $$ > "$0" && exec "$@"'

_DEVICES = ("cpu", "null")
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0

# Processes that this one started: their parent has to ask for their exit codes.
_children: dict[str, subprocess.Popen[bytes]] = {}


class LocalProvider(Provider):
    """Executors on 127.0.0.1.

    Options: device, "cpu" (default) or "null"; emulate=True makes the executor emulate the GPU type.
    """

    name: ClassVar[str] = "local"

    def check(self, request: MachineRequest) -> None:
        unknown = set(request.options) - {"device", "emulate"}
        if unknown:
            raise TypeError(
                f"the provider 'local' has no option {min(unknown)!r}; it has device, emulate"
            )
        if request.options.get("device", "cpu") not in _DEVICES:
            raise ValueError(f"device is {request.options['device']!r}; it has to be cpu or null")
        if not isinstance(request.options.get("emulate", False), bool):
            raise TypeError("emulate has to be True or False: gpu_type says which GPU")

    def price(self, request: MachineRequest) -> Price:  # noqa: ARG002
        return Price(0.0, "this machine")

    def start(self, request: MachineRequest, progress: Progress) -> StartedMachine:
        if not PROGRAM.exists():
            raise ProviderError(missing(), nothing_started=True)
        progress.stage("starting an executor on this machine")
        folder = _folder() / request.tags["torch-remote-start"]
        if not _is_alive(folder):  # of a try before, which failed
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        (folder / "tags.json").write_text(json.dumps(dict(request.tags)))
        try:
            self._launch(folder, _command(request), request)
            endpoint = _endpoint(folder)
        except BaseException:
            self.stop(folder.name)  # of a process that has ended already, the caller finds nothing
            raise
        emulated = request.gpu_type if request.options.get("emulate") else None
        return StartedMachine(folder.name, endpoint, emulated, {"folder": str(folder)})

    def status(self, machine_id: str) -> MachineStatus:
        if not _is_alive(_folder() / machine_id):
            return MachineStatus.ENDED
        return MachineStatus.RUNNING

    def logs(self, machine_id: str) -> str:
        return _text(_folder() / machine_id / "output")

    def stop(self, machine_id: str) -> None:
        folder = _folder() / machine_id
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + _STOP_TIMEOUT_S
            while _is_alive(folder) and time.monotonic() < deadline:
                # Again and again: one that is just starting has not written its number yet.
                with contextlib.suppress(ProcessLookupError, ValueError):
                    os.kill(int(_text(folder / "pid")), number)
                time.sleep(0.01)
        _reap(machine_id)
        if _is_alive(folder):
            raise ProviderError(f"the process of {machine_id} does not end; see {folder / 'pid'}")
        shutil.rmtree(folder, ignore_errors=True)

    def find(self, tags: Mapping[str, str], options: Mapping[str, Any]) -> list[str]:  # noqa: ARG002
        found = []
        for folder in _folder().glob("*"):
            with contextlib.suppress(ValueError):
                own = json.loads(_text(folder / "tags.json") or "{}")
                if tags.items() <= own.items() and _is_alive(folder):
                    found.append(folder.name)
        return sorted(found)

    @staticmethod
    def _launch(folder: Path, command: list[str], request: MachineRequest) -> None:
        with (folder / "output").open("wb") as output, (folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Ctrl-C on the terminal is for this program, which may go on: hence a session of its own.
            _children[folder.name] = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, str(folder / "pid"), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock.fileno()],  # the lock is the process's from here on
                env=environment() | dict(request.environment),
            )


def _command(request: MachineRequest) -> list[str]:
    device = ["--device", request.options.get("device", "cpu")]
    count = ["--device-count", str(request.gpu_count)]
    emulated = ["--emulate", request.gpu_type] if request.options.get("emulate") else []
    address = ["--bind", "tcp://127.0.0.1:0"]
    return [str(PROGRAM), *device, *count, *emulated, *address, *request.arguments]


def _endpoint(folder: Path) -> str:
    """Waits for the executor's first line, which says where it serves."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        alive = _is_alive(folder)  # asked first: its last words come before its end
        if found := re.search(r" on (tcp://\S+)[\s\S]*\n", _text(folder / "output")):
            return found.group(1)
        if not alive:
            break
        time.sleep(0.01)
    said = _text(folder / "output").strip() or "it said nothing"
    raise ProviderError(f"torch-remote-executor did not start: {said}")


def _is_alive(folder: Path) -> bool:
    _reap(folder.name)
    try:
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # others may look at the same time
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _reap(machine_id: str) -> None:
    child = _children.get(machine_id)
    if child is not None and child.poll() is not None:
        _children.pop(machine_id, None)


def _folder() -> Path:
    return state_folder() / "local"


def _text(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(errors="replace")
    return ""
