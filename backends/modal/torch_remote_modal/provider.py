# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Machines on Modal: a sandbox with a GPU, reached through a raw TCP tunnel.

The tunnel encrypts nothing by itself; CURVE does, from this process to the executor's.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from torch_remote.providers import (
    MachineRequest,
    MachineStatus,
    Price,
    Progress,
    Provider,
    ProviderError,
    StartedMachine,
)

from torch_remote_modal import image, prices
from torch_remote_modal.errors import client, explained

APP = "torch-remote"
PORT = 5555

_GPU_NAMES = {"A10G": "A10", "H100": "H100!"}  # "!" forbids the upgrade to an H200
_TIMEOUT_MAX_S = 24 * 3600
# How much longer than its executor a sandbox may live, so that the executor can say why it ends.
_GRACE_S = 10
_TUNNEL_TIMEOUT_S = 60
# A log of what runs has no end; this long a silence counts as one.
_LOG_SILENCE_S = 1.0

_OPTIONS: dict[str, tuple[type, ...]] = {
    "app": (str,),
    "base_image": (str,),
    "cpu": (int, float),
    "device": (str,),
    "memory_mib": (int,),
    "source": (str,),
    "volumes": (dict,),
}


class ModalProvider(Provider):
    """GPUs on Modal.

    Options:
        app: the app's name; default "torch-remote".
        volumes: {"/path on the machine": "name of a Modal volume"}, for weights and data.
        cpu, memory_mib: cores and memory to be reserved.
        source: torch-remote's source folder or sdist, where it can't be found.
        base_image: another CUDA image with compiler and headers.
        device: "cuda" (default) or "cpu".
    """

    name: ClassVar[str] = "modal"
    lifetime_max_s: ClassVar[int | None] = _TIMEOUT_MAX_S - _GRACE_S
    connect_timeout_s: ClassVar[float] = 90.0

    def check(self, request: MachineRequest) -> None:
        for name, value in request.options.items():
            if name not in _OPTIONS:
                raise TypeError(
                    f"the provider 'modal' has no option {name!r}; it has {', '.join(_OPTIONS)}"
                )
            if not isinstance(value, _OPTIONS[name]) or isinstance(value, bool):
                kinds = " or ".join(kind.__name__ for kind in _OPTIONS[name])
                raise TypeError(f"the option {name} has to be {kinds}, not {value!r}")
        if request.options.get("device", "cuda") not in ("cuda", "cpu"):
            raise ValueError(f"device is {request.options['device']!r}; it has to be cuda or cpu")
        for path, volume in request.options.get("volumes", {}).items():
            if not (isinstance(path, str) and path.startswith("/") and isinstance(volume, str)):
                raise ValueError(
                    f"volumes has {path!r}: {volume!r}; it takes absolute paths on the machine and "
                    "names of volumes"
                )
        if request.gpu_type == "A10G" and request.gpu_count > 4:
            raise ValueError("Modal's machines have at most 4 A10G")

    def price(self, request: MachineRequest) -> Price:
        return prices.price(request.gpu_type, request.gpu_count)

    def start(self, request: MachineRequest, progress: Progress) -> StartedMachine:
        modal, options = client(), request.options
        progress.stage("asking Modal")
        with explained("looking up the app", nothing_started=True):
            app = modal.App.lookup(options.get("app", APP), create_if_missing=True)
        built = image.build(
            app,
            options.get("source"),
            options.get("base_image", image.BASE),
            progress,
            with_cuda=options.get("device", "cuda") == "cuda",
        )
        progress.stage(f"waiting for a machine with {request.gpu_count} {request.gpu_type}")
        with explained("starting a machine"):
            sandbox = modal.Sandbox.create(
                *_command(request), app=app, image=built, **_terms(request)
            )
            progress.stage("waiting for its tunnel")
            tunnel = sandbox.tunnels(timeout=_TUNNEL_TIMEOUT_S).get(PORT)
            if tunnel is None:
                words = self.logs(sandbox.object_id).strip() or "it said nothing"
                raise ProviderError(f"the machine on Modal ended at once: {words}")
            host, port = tunnel.tcp_socket
        metadata = {"app": app.name or APP, "region": request.region or "any"}
        return StartedMachine(sandbox.object_id, f"tcp://{host}:{port}", None, metadata)

    def status(self, machine_id: str) -> MachineStatus:
        modal = client()
        with explained("asking for a machine"):
            try:
                code = modal.Sandbox.from_id(machine_id).poll()
            except modal.exception.NotFoundError:
                return MachineStatus.ENDED
        return MachineStatus.RUNNING if code is None else MachineStatus.ENDED

    def logs(self, machine_id: str) -> str:
        # In a thread, since a notebook's own has a loop that runs already.
        with explained("reading a log"), ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, _read_logs(machine_id)).result()

    def stop(self, machine_id: str) -> None:
        kinds = client().exception
        # The last of these is what waiting for the end of one raises whose time was over.
        gone = (kinds.NotFoundError, kinds.SandboxTerminatedError, kinds.SandboxTimeoutError)
        with explained("stopping a machine"), contextlib.suppress(*gone):
            client().Sandbox.from_id(machine_id).terminate(wait=True)

    def find(self, tags: Mapping[str, str], options: Mapping[str, Any]) -> list[str]:
        modal = client()
        with explained("looking for machines"):
            try:
                app = modal.App.lookup(options.get("app", APP))
            except modal.exception.NotFoundError:
                return []
            found = modal.Sandbox.list(app_id=app.app_id, tags=dict(tags))
            return [sandbox.object_id for sandbox in found]


def _command(request: MachineRequest) -> list[str]:
    device = request.options.get("device", "cuda")
    # A GPU's executor counts them itself.
    count = ["--device-count", str(request.gpu_count)] if device == "cpu" else []
    address = f"tcp://0.0.0.0:{PORT}"
    return [
        "torch-remote-executor",
        "--device",
        device,
        *count,
        *request.arguments,
        "--bind",
        address,
    ]


def _terms(request: MachineRequest) -> dict[str, Any]:
    """What the sandbox has to be, as Sandbox.create takes it."""
    modal, options = client(), request.options
    volumes = {
        path: modal.Volume.from_name(name, create_if_missing=True)
        for path, name in options.get("volumes", {}).items()
    }
    gpu = _GPU_NAMES.get(request.gpu_type, request.gpu_type)
    lifetime_s = request.lifetime_s or _TIMEOUT_MAX_S - _GRACE_S
    return {
        "gpu": f"{gpu}:{request.gpu_count}",
        "region": request.region,
        "timeout": min(lifetime_s + _GRACE_S, _TIMEOUT_MAX_S),
        "tags": dict(request.tags),
        "secrets": [modal.Secret.from_dict(dict(request.environment))],
        "unencrypted_ports": [PORT],
        "volumes": volumes,
        "cpu": options.get("cpu"),
        "memory": options.get("memory_mib"),
    }


async def _read_logs(machine_id: str) -> str:
    """What there is of both outputs."""
    sandbox = await client().Sandbox.from_id.aio(machine_id)
    parts = await asyncio.gather(_read(sandbox.stdout), _read(sandbox.stderr))
    return "".join(parts)


async def _read(stream: Any) -> str:
    lines: list[str] = []
    following = aiter(stream)
    with contextlib.suppress(asyncio.TimeoutError, StopAsyncIteration):
        while True:
            lines.append(await asyncio.wait_for(anext(following), _LOG_SILENCE_S))
    return "".join(lines)
