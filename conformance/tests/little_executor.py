# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""An executor of a few commands, written from docs/PROTOCOL.md, that can have one of many faults.

It knows sessions, order, and bytes: enough for the cases of these. What it is asked beyond that, it refuses.
"""

import contextlib
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import zmq
from torch_remote_conformance.protocol.commands import Command
from torch_remote_conformance.protocol.wire import (
    ENVELOPE_SIZE,
    MAGIC,
    OPENING_SIZE_MAX,
    Code,
    HelloKey,
    Kind,
    Reader,
    ViolationError,
    WelcomeKey,
    envelope,
    expect,
)

_ACKNOWLEDGED_AFTER = 8


@dataclass
class _Session:
    """What is known of one client."""

    number: int
    storages: dict[int, bytearray] = field(default_factory=dict)
    expected: int = 1
    acknowledged: int = 0
    asked: bool = False
    sent: list[tuple[int, bytes]] = field(default_factory=list)
    sequence: int = 0


class _UnavailableError(Exception):
    """There is no such device."""


class LittleExecutor:
    """Serves on a thread of its own while it is a context."""

    def __init__(self, fault: str = "") -> None:
        self._fault = fault
        self._socket = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.router_handover = True
        self._socket.sndhwm = self._socket.rcvhwm = 0
        self._socket.linger = 0
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self._sessions: dict[bytes, _Session] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "LittleExecutor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _has(self, fault: str) -> bool:
        return self._fault == fault

    def _serve(self) -> None:
        while not self._stop.is_set():
            if not self._socket.poll(0):
                self._rest()
                self._socket.poll(50)
                continue
            client, *frames = self._socket.recv_multipart()
            try:
                self._take(client, frames)
            except ViolationError as error:
                self._refuse(client, Code.MALFORMED, str(error))
            except _UnavailableError as error:
                self._refuse(client, Code.UNAVAILABLE, str(error))

    def _rest(self) -> None:
        """There is nothing more to do."""
        for client, session in self._sessions.items():
            if session.acknowledged < session.expected - 1:
                self._send(client, session, Kind.ACKNOWLEDGE)

    # --- Messages --------------------------------------------------------------------------------

    def _take(self, client: bytes, frames: list[bytes]) -> None:
        expect(len(frames[0]) == ENVELOPE_SIZE, "no envelope")
        magic, kind, number, sequence, acknowledged = struct.unpack("<IBxxxQQQ8x", frames[0])
        expect(magic == MAGIC and 1 <= kind <= max(Kind), "no envelope")
        body = frames[1] if len(frames) > 1 else b""
        session = self._sessions.get(client)
        if session is None:
            self._take_first(client, number, kind, body)
            return
        if not self._has("believes acknowledgements"):
            expect(acknowledged <= session.sequence, "what was never sent is acknowledged")
        session.sent = [entry for entry in session.sent if entry[0] > acknowledged]
        if kind == Kind.GOODBYE:
            if not self._has("never forgets"):
                del self._sessions[client]
        elif kind == Kind.RESUME:
            self._send(client, session, Kind.RESUMED, session.expected)
            for sent_sequence, replies in [] if self._has("never repeats") else session.sent:
                self._send(client, session, Kind.REPLIES, sent_sequence, replies)
        elif kind == Kind.COMMANDS:
            self._take_commands(client, session, sequence, body)
        elif kind == Kind.KEEP_ALIVE and self._has("answers to keep alive"):
            self._send(client, session, Kind.ACKNOWLEDGE)

    def _take_first(self, client: bytes, number: int, kind: int, body: bytes) -> None:
        if kind == Kind.HELLO:
            self._open(client, number, body)
        elif kind != Kind.GOODBYE or self._has("answers to goodbye"):
            self._refuse(client, Code.UNKNOWN_SESSION, "the session is not known")

    def _open(self, client: bytes, number: int, body: bytes) -> None:
        expect(len(body) <= OPENING_SIZE_MAX, "hello is too long")
        reader = Reader(body)
        major, _ = reader.versions()
        if major != 1 and not self._has("welcomes any version"):
            self._refuse(client, Code.OTHER_VERSION, f"version {major}, but 1 is spoken here")
            return
        while reader and major == 1:
            key, value = reader.number(2), reader.text(OPENING_SIZE_MAX)
            is_number = key in (HelloKey.THREAD_COUNT, HelloKey.DEVICE_INDEX)
            expect(not is_number or len(value) == 4, "a number of another size")
            expect(key < 999 or not self._has("knows all keys"), "an unknown key")
            if key == HelloKey.DEVICE_INDEX and any(value):
                raise _UnavailableError("there is one device")
        self._sessions[client] = _Session(number)
        self._send(client, self._sessions[client], Kind.WELCOME, 0, self._welcome())

    def _welcome(self) -> bytes:
        spoken = 1 if self._has("speaks a later minor") else 0
        entries = [
            (WelcomeKey.EPOCH, bytes(8) if not self._has("has no epoch") else bytes(7)),
            *((WelcomeKey.DESCRIPTION, entry) for entry in (b"executor\0little", b"device\0none")),
        ]
        if self._has("announces no plans"):
            entries.append((WelcomeKey.PLAN_COUNT, bytes(4)))
        fields = b"".join(struct.pack("<HI", key, len(text)) + text for key, text in entries)
        return struct.pack("<IHH", MAGIC, 1, spoken) + fields

    def _take_commands(self, client: bytes, session: _Session, sequence: int, body: bytes) -> None:
        if sequence < session.expected and not self._has("executes duplicates"):
            return
        if sequence > session.expected and not self._has("overlooks gaps"):
            if not session.asked or self._has("asks for every message"):
                self._send(client, session, Kind.RESUMED, session.expected)
            session.asked = True
            return
        session.expected = max(session.expected, sequence + 1)
        session.asked = False
        replies = b"".join(self._execute(session, body))
        if replies:
            session.sequence += 2 if self._has("leaves out sequences") else 1
            session.sent.append((session.sequence, replies))
            self._send(client, session, Kind.REPLIES, session.sequence, replies)
        elif self._is_due(session):
            self._send(client, session, Kind.ACKNOWLEDGE)

    def _is_due(self, session: _Session) -> bool:
        unacknowledged = session.expected - 1 - session.acknowledged
        return unacknowledged >= _ACKNOWLEDGED_AFTER and not self._has("rarely acknowledges")

    def _execute(self, session: _Session, body: bytes) -> Iterator[bytes]:
        reader = Reader(body)
        while reader:
            head = reader.number(4)
            expect(head >> 8 > 0, "no length")
            fields = Reader(reader.take((head >> 8) * 4 - 4))
            first = fields.number(4)
            if head & 0xFF == Command.ALLOCATE:
                size = fields.number(8)
                session.storages[fields.number(8)] = bytearray(size)
            elif head & 0xFF == Command.WRITE:
                storage, offset, size = (fields.number(8) for _ in range(3))
                session.storages[storage][offset : offset + size] = fields.take(size)
            elif head & 0xFF == Command.READ:
                storage, offset, size = (fields.number(8) for _ in range(3))
                yield self._read(session, first, storage, offset, size)
            elif head & 0xFF == Command.SYNCHRONIZE:
                yield struct.pack("<BI", 5, first)
            else:
                raise ViolationError(f"command {head & 0xFF} is not for a little executor")

    @staticmethod
    def _read(session: _Session, token: int, storage: int, offset: int, size: int) -> bytes:
        if storage not in session.storages:
            texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"read", b"unknown"))
            return struct.pack("<BIQB", 6, token, 0, 0) + texts
        data = session.storages[storage][offset : offset + size]
        return struct.pack("<BIIQ", 2, token, 0, len(data)) + data

    # --- Sending ---------------------------------------------------------------------------------

    def _send(
        self, client: bytes, session: _Session, kind: Kind, sequence: int = 0, body: bytes = b""
    ) -> None:
        session.acknowledged = session.expected - 1
        number = session.number + self._has("mistakes its session")
        first = envelope(
            kind,
            number,
            sequence,
            session.acknowledged,
            reserved=self._has("fills reserved bytes"),
        )
        self._socket.send_multipart([client, first, *([body] if body else [])])

    def _refuse(self, client: bytes, code: Code, reason: str) -> None:
        if self._has("gives no reason"):
            reason = ""
        self._sessions.pop(client, None)
        text = reason.encode()
        body = struct.pack("<IHHHI", MAGIC, 1, 0, code, len(text)) + text
        with contextlib.suppress(zmq.ZMQError):  # the client is gone
            self._socket.send_multipart([client, envelope(Kind.REFUSED, 0), body])
