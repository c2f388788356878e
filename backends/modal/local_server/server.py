# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The server: what a test starts, sets and reads."""

import asyncio
import atexit
import contextlib
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType

import grpclib.events
import grpclib.server
import modal
from aiohttp import web

from .calls import completed
from .commands import Launch, localized
from .credentials import Credentials, refuse
from .faults import Faults
from .image_calls import ImageCalls
from .object_calls import ObjectCalls
from .records import App, Image, Secret, Volume, Workspace
from .sandbox import Sandbox
from .sandbox_calls import SandboxCalls
from .worker_calls import WorkerCalls

# Prices in the form that Modal gives them; the figures are only examples.
EXAMPLE_RATES = {"CPU": "0.0000131", "Memory": "0.00000222", "T4": "0.59", "H100": "3.95"}

# What a local program cannot do without. The rest of this process's environment, its tokens above
# all, is as unknown to a sandbox as it would be to a container.
_INHERITED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR")

# More than a wheel of torch has.
_LARGEST_UPLOAD = 4 << 30


class _ControlPlane(ObjectCalls, ImageCalls, SandboxCalls):
    """Every call of Modal's control plane that is covered."""


class LocalModal:
    """A Modal of one's own on loopback. It runs in a thread until it is closed.

    Args:
        programs: for names of programs in containers, the local ones that run instead.
        rewrite: turns a container's command into a local one in any other way than
            :func:`localized` does, which it may call.
        faults: what goes wrong from the start; :attr:`faults` may be changed at any time.
        rates: what Workspace.billing.rates() gives.
        inherited: the variables of this process's environment that sandboxes get.
        port: where to serve; 0 picks a free port.
    """

    def __init__(
        self,
        *,
        programs: Mapping[str, str | os.PathLike[str]] | None = None,
        rewrite: Callable[[Launch], list[str]] | None = None,
        faults: Faults | None = None,
        rates: Mapping[str, str] = EXAMPLE_RATES,
        inherited: Collection[str] = _INHERITED,
        port: int = 0,
    ) -> None:
        self._listeners = [_listener(port), _listener(0)]
        #: The names of all calls that clients made, in order.
        self.calls: list[str] = []
        self._folder = Path(tempfile.mkdtemp(prefix="local-modal-"))
        local_programs = {name: Path(path).absolute() for name, path in (programs or {}).items()}
        self._credentials = Credentials()
        self._workspace = Workspace(
            faults=faults or Faults(),
            rewrite=rewrite or (lambda launch: localized(launch, local_programs)),
            base_environment=self._base_environment(local_programs, inherited),
            folder=self._folder,
            rates=rates,
            auth_token=self._credentials.auth_token,
        )
        urls = [f"http://127.0.0.1:{one.getsockname()[1]}" for one in self._listeners]
        self._workspace.url, self._workspace.upload_url = urls
        self._stop: Callable[[], object] | None = None
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=[ready], name="local-modal", daemon=True
        )
        self._thread.start()
        # What nobody closes must not keep the process, nor leave sandboxes behind it.
        atexit.register(self.close)
        ready.wait()
        if self._stop is None:
            raise RuntimeError("the local Modal server did not start; its error is on stderr")

    @property
    def url(self) -> str:
        return self._workspace.url

    @property
    def faults(self) -> Faults:
        """What goes wrong: change its fields, or replace it."""
        return self._workspace.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._workspace.faults = faults

    def environment(self) -> dict[str, str]:
        """The variables with which a client in any process finds this server and no other."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": self._credentials.token_id,
            "MODAL_TOKEN_SECRET": self._credentials.token_secret,
            # A developer's own profile and proxy are not what a test is about.
            "MODAL_CONFIG_PATH": str(self._folder / "modal.toml"),
            "MODAL_DISABLE_API_PROXY": "1",
        }

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Makes this server the Modal of this process: its environment, and a client of its own."""
        before = {name: os.environ.get(name) for name in self.environment()}
        os.environ.update(self.environment())
        # The client keeps one connection for the process, possibly one to another server.
        modal.Client.from_env().close()
        try:
            yield
        finally:
            modal.Client.from_env().close()
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    @property
    def sandboxes(self) -> list[Sandbox]:
        """All that were ever created, in order."""
        return list(self._workspace.sandboxes.values())

    @property
    def running(self) -> list[Sandbox]:
        """Those that have not ended: at a test's end, the ones that would go on costing money."""
        return [sandbox for sandbox in self.sandboxes if sandbox.running]

    @property
    def terminated(self) -> list[Sandbox]:
        """Those that a client ended."""
        return [sandbox for sandbox in self.sandboxes if sandbox.terminated]

    @property
    def apps(self) -> list[App]:
        return list(self._workspace.apps.values())

    @property
    def images(self) -> list[Image]:
        """Every layer of every image, in the order of building."""
        return list(self._workspace.images.values())

    @property
    def secrets(self) -> list[Secret]:
        return list(self._workspace.secrets.values())

    @property
    def volumes(self) -> list[Volume]:
        return list(self._workspace.volumes.values())

    def close(self) -> None:
        """Ends the server and every sandbox's process group, and removes its folder."""
        if self._stop is not None and self._thread.is_alive():
            self._stop()
        self._thread.join()
        atexit.unregister(self.close)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "LocalModal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        control_plane = completed(_ControlPlane, self._workspace)
        worker = completed(WorkerCalls, self._workspace)
        calls = grpclib.server.Server([control_plane, worker])
        grpclib.events.listen(calls, grpclib.events.RecvRequest, self._admit)
        uploads = web.Application(client_max_size=_LARGEST_UPLOAD)
        uploads.router.add_put("/{blob_id}", control_plane.receive_blob)
        upload_runner = web.AppRunner(uploads)
        await upload_runner.setup()
        await web.SockSite(upload_runner, self._listeners[1]).start()
        await calls.start(sock=self._listeners[0])
        self._stop = lambda: loop.call_soon_threadsafe(stopping.set)
        ready.set()
        await stopping.wait()
        calls.close()
        await asyncio.gather(*(sandbox.terminate() for sandbox in self.running))
        await upload_runner.cleanup()
        await calls.wait_closed()

    async def _admit(self, call: grpclib.events.RecvRequest) -> None:
        self.calls.append(call.method_name.rpartition("/")[2])
        if self.faults.reject_credentials:
            refuse()
        self._credentials.check(call)

    def _base_environment(
        self, programs: Mapping[str, Path], inherited: Collection[str]
    ) -> dict[str, str]:
        """What sandboxes start from, with the programs first on the path for scripts to find."""
        folder = self._folder / "programs"
        folder.mkdir()
        for name, path in programs.items():
            (folder / name).symlink_to(path)
        environment = {name: os.environ[name] for name in inherited if name in os.environ}
        environment["PATH"] = os.pathsep.join([str(folder), environment.get("PATH", os.defpath)])
        return environment


def _listener(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only where a socket names TCP; with it a call takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener
