# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""One sandbox: what was asked for, and its life from waiting for a machine to its result."""

import asyncio
import shlex
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from .commands import Launch
from .process import STDERR, STDOUT, Log, ProcessGroup
from .records import App, Image, Secret, Volume, Workspace, new_id

#: Where a process finds what its sandbox was granted: "H100:2", or nothing without GPU. A container
#: would look at the devices themselves.
GPU_VARIABLE = "LOCAL_MODAL_GPU"

# Without a command a sandbox idles until it is ended.
_IDLE = ("sleep", "86400")

_RESULT = api_pb2.GenericResult


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    app: App
    image: Image
    command: tuple[str, ...]
    name: str
    #: As the client writes it: "H100:2", and "H100!:1" for one that must not be upgraded.
    gpu: str | None
    regions: tuple[str, ...]
    ports: tuple[int, ...]
    timeout_s: float
    secrets: tuple[Secret, ...]
    volumes: Mapping[str, Volume]  # by mount path
    tags: Mapping[str, str]


@dataclass(eq=False)
class Sandbox:
    """A sandbox that a client created. Tests read it; its methods belong to the server's thread."""

    sandbox_id: str
    request: Request
    workspace: Workspace = field(repr=False)
    task_id: str = field(default_factory=lambda: new_id("ta"))
    created_at: float = field(default_factory=time.time)
    #: The tags now; a client may have changed them.
    tags: dict[str, str] = field(default_factory=dict)
    #: The local port of each tunnel, by the port in the container.
    ports: dict[int, int] = field(default_factory=dict)
    #: What it runs here, once it runs.
    launch: Launch | None = None
    local_command: tuple[str, ...] = ()
    #: None until it ended.
    result: api_pb2.GenericResult | None = None

    def __post_init__(self) -> None:
        self.tags = dict(self.request.tags)
        self._log = Log()
        self._group = ProcessGroup(self._log)
        self._started = asyncio.Event()
        self._ended = asyncio.Event()
        self._stopped = False
        self._refusal: GRPCError | None = None
        self._life = asyncio.create_task(self._live())

    @property
    def app_id(self) -> str:
        return self.request.app.app_id

    @property
    def running(self) -> bool:
        """Until its end it may cost money, also while it waits for a machine."""
        return self.result is None

    @property
    def terminated(self) -> bool:
        """Whether a client ended it, in contrast to its own end and its time-out."""
        return self.result is not None and self.result.status == _RESULT.GENERIC_STATUS_TERMINATED

    @property
    def gpu(self) -> str | None:
        """The GPU that it was granted."""
        return self.launch.gpu if self.launch else None

    @property
    def pid(self) -> int | None:
        """The process that stands for it, which leads its group."""
        return self._group.pid

    @property
    def stdout(self) -> str:
        return self._log.text(STDOUT)

    @property
    def stderr(self) -> str:
        return self._log.text(STDERR)

    @property
    def log(self) -> Log:
        """What it writes, for the server to follow; a test reads :attr:`stdout`, :attr:`stderr`."""
        return self._log

    async def started(self, timeout_s: float) -> bool:
        """Waits until it runs, has ended, or the time is over; whether it ever ran.

        Raises:
            GRPCError: there is no machine for it.
        """
        await self._either(self._started, self._ended, timeout_s)
        if self._refusal is not None:
            raise self._refusal
        return self._started.is_set()

    async def ended(self, timeout_s: float) -> api_pb2.GenericResult | None:
        """Waits until it has ended or the time is over; its result if it has."""
        await self._either(self._ended, self._ended, timeout_s)
        return self.result

    async def terminate(self) -> None:
        """Ends it, wherever in its life it is, and waits until its processes are gone."""
        if not self._stopped:
            # A second cancellation would interrupt the cleaning up that the first one brought on.
            self._stopped = True
            self._life.cancel()
        await self._ended.wait()

    async def _live(self) -> None:
        ending: api_pb2.GenericResult.GenericStatus.ValueType | None = (
            _RESULT.GENERIC_STATUS_INTERNAL_FAILURE
        )
        try:
            await self._wait_for_machine()
            await self._start()
            exit_task = asyncio.ensure_future(self._group.wait())
            done, _ = await asyncio.wait({exit_task}, timeout=self.request.timeout_s)
            ending = None if done else _RESULT.GENERIC_STATUS_TIMEOUT
        except asyncio.CancelledError:
            ending = _RESULT.GENERIC_STATUS_TERMINATED  # terminate() is the only one to cancel
        except GRPCError as error:
            ending = _RESULT.GENERIC_STATUS_INIT_FAILURE
            self._refusal = error
        finally:
            self._stopped = True
            code = await self._group.end()
            if ending is None:
                ending = _RESULT.GENERIC_STATUS_FAILURE if code else _RESULT.GENERIC_STATUS_SUCCESS
            self.result = _RESULT(status=ending, exitcode=code)
            self._ended.set()

    async def _wait_for_machine(self) -> None:
        # Looked at again and again, since a test may end the shortage.
        while self._must_wait(time.time() - self.created_at):
            await asyncio.sleep(0.02)

    def _must_wait(self, waited_s: float) -> bool:
        faults = self.workspace.faults
        if faults.no_capacity_after_s is None:
            return waited_s < faults.scheduling_s
        if waited_s < faults.no_capacity_after_s:
            return True
        raise GRPCError(Status.RESOURCE_EXHAUSTED, "Insufficient capacity to create sandbox.")

    async def _start(self) -> None:
        self.ports = {port: _free_port() for port in self.request.ports}
        faults = self.workspace.faults
        gpu = faults.granted_gpu or (self.request.gpu and self.request.gpu.replace("!", ""))
        self.launch = Launch(
            command=self.request.command,
            gpu=gpu,
            ports=self.ports,
            volumes={path: volume.folder for path, volume in self.request.volumes.items()},
            environment=self._environment(gpu),
        )
        self.local_command = tuple(self.workspace.rewrite(self.launch)) or _IDLE
        if faults.dies_with is not None:
            script = f"echo 'the sandbox dies, as the test asked' >&2; exit {faults.dies_with}"
            self.local_command = ("sh", "-c", script)
        folder = self.workspace.folder / self.sandbox_id
        folder.mkdir()
        await self._group.start(self.local_command, self.launch.environment, folder)
        self._started.set()

    def _environment(self, gpu: str | None) -> dict[str, str]:
        """What the container would have: nothing of the client's own environment."""
        environment = {
            **self.workspace.base_environment,
            "MODAL_ENVIRONMENT": self.request.app.environment,
            "MODAL_IMAGE_ID": self.request.image.image_id,
            "MODAL_REGION": next(iter(self.request.regions), "local"),
            "MODAL_SANDBOX_ID": self.sandbox_id,
            "MODAL_TASK_ID": self.task_id,
            GPU_VARIABLE: gpu or "",
        }
        for secret in self.request.secrets:
            environment |= secret.values
        return environment

    @staticmethod
    async def _either(one: asyncio.Event, other: asyncio.Event, timeout_s: float) -> None:
        waits = {asyncio.ensure_future(one.wait()), asyncio.ensure_future(other.wait())}
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def __str__(self) -> str:
        """For people: a line that says what this sandbox is and how it ended."""
        name = _RESULT.GenericStatus.Name(self.result.status) if self.result else "running"
        state = name.removeprefix("GENERIC_STATUS_").lower()
        return f"{self.sandbox_id} ({shlex.join(self.request.command)}): {state}"


def _free_port() -> int:
    # Another program may take it before the sandbox does; on a test's machine that is rare enough.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
