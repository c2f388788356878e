# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A client of the protocol that knows docs/PROTOCOL.md and nothing of the C++, and fixtures for it."""

import secrets
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import zmq
from programs import Executor, executor

MAGIC = 0x544D5254
HELLO, WELCOME, REFUSED, COMMANDS, REPLIES, ACKNOWLEDGE, RESUME, RESUMED, GOODBYE, KEEP_ALIVE = (
    range(1, 11)
)
OTHER_VERSION, MALFORMED, UNKNOWN_SESSION = 1, 2, 3
FRAME_SIZE = 1 << 20
STORAGE_LIMIT = 4 << 20
LAST_TOKEN = 0xFFFF_FFFF
ANSWER_S = 20


@dataclass(frozen=True)
class Message:
    kind: int
    session: int
    sequence: int
    acknowledged: int
    body: bytes
    payload: list[bytes]


@dataclass(frozen=True)
class Failed:
    """What the executor says of an operation that failed."""

    error_kind: int
    operator: str
    message: str


class RefusedError(Exception):
    def __init__(self, body: bytes) -> None:
        magic, self.major, self.minor, self.code, length = struct.unpack_from("<IHHHI", body)
        assert magic == MAGIC
        self.reason = body[14 : 14 + length].decode()
        super().__init__(f"refused, code {self.code}: {self.reason}")


def envelope(
    kind: int, session: int, sequence: int = 0, acknowledged: int = 0, *, magic: int = MAGIC
) -> bytes:
    return struct.pack("<IBxxxQQQ8x", magic, kind, session, sequence, acknowledged)


def hello(major: int = 1, fields: bytes = b"") -> bytes:
    return struct.pack("<IHH", MAGIC, major, 0) + fields


def hello_field(key: int, value: bytes) -> bytes:
    return struct.pack("<HI", key, len(value)) + value


class Reader:
    """The bytes of a body, from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def bytes(self, size: int) -> bytes:
        taken = self.data[self.position : self.position + size]
        assert len(taken) == size
        self.position += size
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.bytes(size), "little")

    def string(self) -> str:
        return self.bytes(self.number(4)).decode()

    def failed(self) -> Failed:
        self.number(8)
        return Failed(self.number(1), self.string(), self.string())


@dataclass
class Client:
    """One session; answers by token, and failures that answer nothing in their order."""

    endpoint: str
    session: int = field(default_factory=lambda: secrets.randbits(63) + 1)
    answers: dict[int, bytes | Failed | None] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)
    sequence: int = 0
    acknowledged: int = 0

    def __post_init__(self) -> None:
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.routing_id = b"s" + struct.pack("<Q", self.session)
        self.socket.linger = 0
        self.socket.sndhwm = self.socket.rcvhwm = 0
        self.socket.connect(self.endpoint)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.send(GOODBYE)
        self.socket.linger = 1000
        self.socket.close()

    def send_frames(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def send(self, kind: int, *frames: bytes, sequence: int = 0) -> None:
        self.send_frames(envelope(kind, self.session, sequence, self.acknowledged), *frames)

    def receive(self, timeout_s: float = ANSWER_S) -> Message:
        if not self.socket.poll(round(timeout_s * 1000)):
            raise TimeoutError("the executor says nothing")
        first, *rest = self.socket.recv_multipart()
        assert len(first) == 40
        magic, kind, session, sequence, acknowledged = struct.unpack("<IBxxxQQQ8x", first)
        assert magic == MAGIC
        body = rest[0] if rest else b""
        if kind == REFUSED:
            raise RefusedError(body)
        assert session == self.session
        return Message(kind, session, sequence, acknowledged, body, rest[1:])

    def open(self, body: bytes | None = None) -> dict[int, list[bytes]]:
        """The welcome's fields by key."""
        self.send(HELLO, hello() if body is None else body)
        message = self.receive()
        assert message.kind == WELCOME
        reader = Reader(message.body)
        assert (reader.number(4), reader.number(2), reader.number(2)) == (MAGIC, 1, 0)
        fields: dict[int, list[bytes]] = {}
        while reader.position < len(message.body):
            fields.setdefault(reader.number(2), []).append(reader.bytes(reader.number(4)))
        return fields

    def run(self, *commands: bytes, payload: tuple[bytes, ...] = ()) -> None:
        """Sends one message of commands."""
        self.sequence += 1
        self.send(COMMANDS, b"".join(commands), *payload, sequence=self.sequence)

    def answer(self, token: int) -> bytes | Failed | None:
        """Waits for the answer to a token; None is that of synchronize."""
        while token not in self.answers:
            message = self.receive()
            if message.kind == REPLIES:
                self.take_replies(message)
        return self.answers.pop(token)

    def take_replies(self, message: Message) -> None:
        assert message.sequence == self.acknowledged + 1
        assert message.acknowledged <= self.sequence
        self.acknowledged = message.sequence
        reader, payload = Reader(message.body), list(message.payload)
        while reader.position < len(message.body):
            kind = reader.number(1)
            if kind == 1:
                self.failures.append(reader.failed())
                continue
            token = reader.number(4)
            assert token not in self.answers
            if kind == 2:
                frames, size = reader.number(4), reader.number(8)
                parts = [payload.pop(0) for _ in range(frames)]
                assert all(len(part) == FRAME_SIZE for part in parts[:-1])
                data = b"".join(parts) if frames else reader.bytes(size)
                assert len(data) == size
                self.answers[token] = data
            elif kind == 4:
                self.answers[token] = reader.bytes(reader.number(4))
            elif kind == 5:
                self.answers[token] = None
            else:
                assert kind == 6, f"a reply of kind {kind} to what wasn't asked"
                self.answers[token] = reader.failed()
        assert not payload

    def synchronize(self, token: int = LAST_TOKEN) -> None:
        """Everything before has been computed; raises RefusedError where the session was ended."""
        self.run(synchronize(token))
        assert self.answer(token) is None


def command(kind: int, fields: bytes) -> bytes:
    fields += bytes(-len(fields) % 4)
    return struct.pack("<I", kind | (len(fields) // 4 + 1) << 8) + fields


def define_operator(number: int, schema_hash: int, name: bytes, overload: bytes) -> bytes:
    strings = b"".join(struct.pack("<I", len(text)) + text for text in (name, overload))
    return command(1, struct.pack("<IQ", number, schema_hash) + strings)


def define_plan(number: int, operator: int, arguments: tuple[bytes, ...], output: bytes) -> bytes:
    fields = struct.pack("<IIBH", number, operator, 0, len(arguments)) + b"".join(arguments)
    return command(2, fields + struct.pack("<H", 1) + output)


def call(plan: int, values: bytes = b"") -> bytes:
    return command(3, struct.pack("<I", plan) + values)


def allocate(storage: int, size: int) -> bytes:
    return command(5, struct.pack("<IQQ", 0, size, storage))


def free(*storages: int) -> bytes:
    return command(6, struct.pack(f"<I{len(storages)}Q", 0, *storages))


def write(storage: int, offset: int, data: bytes) -> bytes:
    return command(7, struct.pack("<IQQQ", 0, storage, offset, len(data)) + data)


def write_frames(storage: int, offset: int, size: int, frames: int) -> bytes:
    return command(8, struct.pack("<IQQQ", frames, storage, offset, size))


def read(token: int, storage: int, offset: int, size: int) -> bytes:
    return command(9, struct.pack("<IQQQ", token, storage, offset, size))


def resize(storage: int, new: int, size: int) -> bytes:
    return command(10, struct.pack("<IQQQ", 0, storage, new, size))


def rename(storage: int, new: int) -> bytes:
    return command(11, struct.pack("<IQQ", 0, storage, new))


def synchronize(token: int) -> bytes:
    return command(15, struct.pack("<I", token))


def float_layout(*sizes: int, dtype: int = 6) -> bytes:
    strides = [1] * len(sizes)
    return struct.pack(f"<BBB{2 * len(sizes)}q", dtype, 0, len(sizes), *sizes, *strides)


@pytest.fixture(scope="module")
def serving() -> Iterator[Executor]:
    with executor("--threads", "1", "--storage-limit", "4MiB") as running:
        yield running


@pytest.fixture
def client(serving: Executor) -> Iterator[Client]:
    with Client(serving.endpoint) as made:
        made.open()
        yield made


@pytest.fixture(scope="module")
def bystander(serving: Executor) -> Iterator[Callable[[], None]]:
    """Another session of the same executor, and how it looks whether it still works."""
    with Client(serving.endpoint) as other:
        other.open()
        other.run(allocate(7, 5), write(7, 0, b"still"))

        def works() -> None:
            other.run(read(1, 7, 0, 5))
            assert other.answer(1) == b"still"

        yield works
