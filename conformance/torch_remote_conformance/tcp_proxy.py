# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A TCP proxy between a client and an executor, which misbehaves as networks do when it is told to."""

import contextlib
import selectors
import socket
import threading
import time
from types import TracebackType


class TcpProxy:
    """Passes bytes both ways, on a thread of its own; use it as a context manager.

    Args:
        target: "tcp://host:port" of an executor.
        chunk_bytes: the most that are passed at once.
        delay_s: how long each of those takes.
    """

    def __init__(self, target: str, *, chunk_bytes: int = 1 << 16, delay_s: float = 0.0) -> None:
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        self._target = (host.strip("[]"), int(port))
        self._chunk_bytes = chunk_bytes
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._accepts = True
        self._ended = False
        self._cut_after: int | None = None
        self._cut_wanted = False
        self._partners: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        #: Where to connect to.
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        #: Connections that were closed in the middle, accepted so far, and bytes passed.
        self.cuts = 0
        self.connections = 0
        self.passed_bytes = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "TcpProxy":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended = True
        self._thread.join()
        self._close_all()
        self._selector.close()
        self._listener.close()

    def cut(self) -> None:
        """Closes all connections, with what is on its way in them."""
        with self._lock:
            self._cut_wanted = True

    def cut_after(self, count: int) -> None:
        """The same once so many more bytes were passed: in the middle of a message."""
        with self._lock:
            self._cut_after = self.passed_bytes + count

    def block(self) -> None:
        """Closes all connections, and every new one at once, until unblock."""
        with self._lock:
            self._accepts = False
            self._cut_wanted = True

    def unblock(self) -> None:
        """Connections are passed on again."""
        with self._lock:
            self._accepts = True

    def _serve(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(0.005):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._partners:
                    self._pass(key.fileobj)
            with self._lock:
                wanted, self._cut_wanted = self._cut_wanted, False
                if self._cut_after is not None and self.passed_bytes >= self._cut_after:
                    wanted, self._cut_after = True, None
            if wanted:
                self.cuts += bool(self._partners)
                self._close_all()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if not self._accepts:
            return near.close()
        try:
            far = socket.create_connection(self._target)
        except OSError:
            return near.close()
        self.connections += 1
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._partners[one] = other
            self._selector.register(one, selectors.EVENT_READ)
        return None

    def _pass(self, source: socket.socket) -> None:
        try:
            data = source.recv(self._chunk_bytes)
            if data:
                time.sleep(self._delay_s)
                self._partners[source].sendall(data)
                self.passed_bytes += len(data)
        except OSError:
            data = b""
        if not data:
            self._close(source)

    def _close(self, one: socket.socket) -> None:
        other = self._partners[one]
        for end in (one, other):
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)
            self._partners.pop(end, None)
            end.close()

    def _close_all(self) -> None:
        while self._partners:
            self._close(next(iter(self._partners)))
