# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Numbers, envelopes, and the bodies that open a session, as docs/PROTOCOL.md has them.

Nothing here comes from the C++: it is a second reading of the same page.
"""

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

MAGIC = 0x544D5254
MAJOR = 1
#: The highest minor version that this client speaks.
MINOR = 0

ENVELOPE_SIZE = 40
FRAME_SIZE = 1 << 20
FRAMES_MAX = 64
#: Of any frame.
FRAME_SIZE_MAX = 64 << 20
READ_SIZE_MAX = 64 << 20
STORAGE_SIZE_MAX = 1 << 48
OPENING_SIZE_MAX = 64 << 10
NAME_SIZE_MAX = 1024
TEXT_SIZE_MAX = 64 << 10

_ENVELOPE = struct.Struct("<IB3sQQQ8s")
_VERSIONS = struct.Struct("<IHH")


class ViolationError(AssertionError):
    """What the other side sent breaks the protocol."""


class Kind(enum.IntEnum):
    """Of a message."""

    HELLO = 1
    WELCOME = 2
    REFUSED = 3
    COMMANDS = 4
    REPLIES = 5
    ACKNOWLEDGE = 6
    RESUME = 7
    RESUMED = 8
    GOODBYE = 9
    KEEP_ALIVE = 10


#: What an executor may send.
FROM_EXECUTOR = frozenset(
    {Kind.WELCOME, Kind.REFUSED, Kind.REPLIES, Kind.ACKNOWLEDGE, Kind.RESUMED}
)
#: What a client may send once its session is open.
FROM_CLIENT = frozenset({Kind.COMMANDS, Kind.ACKNOWLEDGE, Kind.RESUME, Kind.KEEP_ALIVE})


class Code(enum.IntEnum):
    """Why a session was refused."""

    OTHER_VERSION = 1
    MALFORMED = 2
    UNKNOWN_SESSION = 3
    TOO_MANY_SESSIONS = 4
    UNAVAILABLE = 5
    ENDING = 6


class HelloKey(enum.IntEnum):
    """Fields of a hello."""

    CLIENT_VERSION = 1
    TORCH_VERSION = 2
    THREAD_COUNT = 3
    DEVICE_INDEX = 4


class WelcomeKey(enum.IntEnum):
    """Fields of a welcome."""

    DEVICE_INDEX = 4
    EPOCH = 16
    PLAN_COUNT = 17
    OPERATOR_COUNT = 18
    STORAGE_SIZE = 19
    BYTES_IN_FLIGHT = 20
    CALLS_IN_FLIGHT = 21
    DESCRIPTION = 22
    DEVICE_COUNT = 23


@dataclass(frozen=True)
class Message:
    """One message of the executor's."""

    kind: Kind
    session: int
    sequence: int
    acknowledged: int
    body: bytes = b""
    payload: tuple[bytes, ...] = ()


class RefusedError(Exception):
    """The executor refused the session."""

    def __init__(self, body: bytes) -> None:
        reader = Reader(body)
        self.major, self.minor = reader.versions()
        self.code = Code(reader.number(2))
        self.reason = reader.string(OPENING_SIZE_MAX)
        super().__init__(f"refused, code {int(self.code)}: {self.reason}")


class Reader:
    """The bytes of a body, from the front; reading past the end is the sender's violation."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def __bool__(self) -> bool:
        return self._position < len(self._data)

    def take(self, size: int) -> bytes:
        """The next so many."""
        taken = self._data[self._position : self._position + size]
        expect(len(taken) == size, f"{size} bytes wanted, {len(taken)} left")
        self._position += size
        return taken

    def number(self, size: int) -> int:
        """The next unsigned number of so many bytes."""
        return int.from_bytes(self.take(size), "little")

    def signed(self) -> int:
        """The next i64."""
        return int.from_bytes(self.take(8), "little", signed=True)

    def double(self) -> float:
        """The next f64."""
        value: float
        (value,) = struct.unpack("<d", self.take(8))
        return value

    def text(self, size_max: int) -> bytes:
        """The bytes of the next string."""
        size = self.number(4)
        expect(size <= size_max, f"a string of {size} bytes; {size_max} are the most")
        return self.take(size)

    def string(self, size_max: int) -> str:
        """The next string, which is UTF-8."""
        return self.text(size_max).decode()

    def versions(self) -> tuple[int, int]:
        """Major and minor at the beginning of hello, welcome and refused."""
        magic, major, minor = _VERSIONS.unpack(self.take(_VERSIONS.size))
        expect(magic == MAGIC, "the body does not begin with TRMT")
        return major, minor


def expect(condition: bool, otherwise: str) -> None:
    """Raises ViolationError where the condition does not hold."""
    if not condition:
        raise ViolationError(otherwise)


def envelope(
    kind: int,
    session: int,
    sequence: int = 0,
    acknowledged: int = 0,
    *,
    magic: int = MAGIC,
    reserved: int = 0,
) -> bytes:
    """Frame 0 of a message; reserved fills the bytes that are sent as 0."""
    return _ENVELOPE.pack(
        magic, kind, bytes([reserved] * 3), session, sequence, acknowledged, bytes([reserved] * 8)
    )


def message(frames: list[bytes]) -> Message:
    """What an executor sent, without the routing id. Raises ViolationError."""
    expect(len(frames) <= 2 + FRAMES_MAX, f"{len(frames)} frames")
    expect(len(frames[0]) == ENVELOPE_SIZE, f"an envelope of {len(frames[0])} bytes")
    magic, kind, gap, session, sequence, acknowledged, tail = _ENVELOPE.unpack(frames[0])
    expect(magic == MAGIC, "the envelope does not begin with TRMT")
    expect(kind in FROM_EXECUTOR, f"an executor that sends kind {kind}")
    expect(not any(gap + tail), "reserved bytes of the envelope that are not 0")
    expect(kind in (Kind.REPLIES, Kind.RESUMED) or sequence == 0, f"kind {kind} with a sequence")
    body = frames[1] if len(frames) > 1 else b""
    return Message(Kind(kind), session, sequence, acknowledged, body, tuple(frames[2:]))


def hello(major: int = MAJOR, minor: int = MINOR, fields: bytes = b"") -> bytes:
    """The body of a hello."""
    return _VERSIONS.pack(MAGIC, major, minor) + fields


def hello_field(key: int, value: bytes | int) -> bytes:
    """One field; a number is a u32, as all of a hello's are."""
    text = struct.pack("<I", value) if isinstance(value, int) else value
    return struct.pack("<HI", key, len(text)) + text


@dataclass(frozen=True)
class Welcome:
    """What an executor says of itself and of the session. The defaults are the page's."""

    minor: int = MINOR
    device_index: int = 0
    epoch: int = 0
    plan_count: int = 16384
    operator_count: int = 8192
    storage_size: int = STORAGE_SIZE_MAX
    bytes_in_flight: int = 1 << 28
    calls_in_flight: int = 65536
    device_count: int = 1
    description: dict[str, str] = field(default_factory=dict)

    @property
    def computes(self) -> bool:
        """Whether it is another executor than the null one, which remembers no storages and reads zeros."""
        return self.description.get("executor") != "null"


#: Field, and bytes of its number.
_NUMBERS = {
    WelcomeKey.DEVICE_INDEX: ("device_index", 4),
    WelcomeKey.EPOCH: ("epoch", 8),
    WelcomeKey.PLAN_COUNT: ("plan_count", 4),
    WelcomeKey.OPERATOR_COUNT: ("operator_count", 4),
    WelcomeKey.STORAGE_SIZE: ("storage_size", 8),
    WelcomeKey.BYTES_IN_FLIGHT: ("bytes_in_flight", 8),
    WelcomeKey.CALLS_IN_FLIGHT: ("calls_in_flight", 4),
    WelcomeKey.DEVICE_COUNT: ("device_count", 4),
}


def welcome_fields(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Key and value of each field, in their order. Raises ViolationError."""
    reader = Reader(body)
    reader.versions()
    while reader:
        yield reader.number(2), reader.text(OPENING_SIZE_MAX)


def welcome(body: bytes) -> Welcome:
    """Reads a welcome; unknown keys are skipped. Raises ViolationError."""
    expect(len(body) <= OPENING_SIZE_MAX, f"a welcome of {len(body)} bytes")
    major, minor = Reader(body).versions()
    expect(major == MAJOR, f"a welcome of the major version {major}")
    numbers: dict[str, int] = {}
    description: dict[str, str] = {}
    for key, value in welcome_fields(body):
        if key == WelcomeKey.DESCRIPTION:
            name, zero, text = value.decode().partition("\0")
            expect(zero == "\0", f"an entry of the description without a zero byte: {value!r}")
            expect(name not in description, f"two entries {name!r} in the description")
            description[name] = text
        elif key in WelcomeKey.__members__.values():
            name, size = _NUMBERS[WelcomeKey(key)]
            expect(len(value) == size, f"field {key} of {len(value)} bytes")
            expect(name not in numbers, f"field {key} comes twice")
            numbers[name] = int.from_bytes(value, "little")
    return Welcome(minor=minor, description=description, **numbers)
