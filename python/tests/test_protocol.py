# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""docs/PROTOCOL.md is enough to write a client from: this one knows that page and nothing of the C++."""

import re
import secrets
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import PACKAGES, Executor, executor

PAGE = PACKAGES.parent / "docs" / "PROTOCOL.md"
MAGIC = 0x544D5254
HELLO, WELCOME, REFUSED, COMMANDS, REPLIES, ACKNOWLEDGE, RESUME, RESUMED, GOODBYE, KEEP_ALIVE = (
    range(1, 11)
)
OTHER_VERSION, MALFORMED, UNKNOWN_SESSION = 1, 2, 3
FRAME_SIZE = 1 << 20
STORAGE_LIMIT = 4 << 20
LAST_TOKEN = 0xFFFF_FFFF
ANSWER_S = 20


# ---- a client ----


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


# ---- executors ----


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


# ---- what the page says, in order ----


def dump(name: str) -> bytes:
    """The bytes of a dump on the page, as it is printed there."""
    found = re.search(rf"```hexdump {name}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return bytes.fromhex(" ".join(line.split("#")[0] for line in found[1].splitlines()))


def test_the_example_is_answered_as_on_the_page(serving: Executor) -> None:
    with Client(serving.endpoint, session=0x1122334455667788) as client:
        assert envelope(HELLO, client.session) == dump("example_hello_envelope")
        client.open(dump("hello"))
        client.run(dump("example_commands"))
        assert client.receive().body == dump("example_replies")


def test_the_welcome_says_what_serves(serving: Executor) -> None:
    with Client(serving.endpoint) as client:
        unknown = hello_field(999, b"from a later version")
        fields = client.open(hello(fields=unknown + hello_field(3, struct.pack("<I", 1))))
    description = dict(entry.split(b"\0", 1) for entry in fields[22])
    assert description[b"executor"] == b"libtorch"
    assert description[b"device"] == b"cpu"
    assert description[b"thread_count"] == b"1"
    assert b"emulates" not in description
    assert fields[19] == [struct.pack("<Q", STORAGE_LIMIT)]
    (epoch,) = fields[16]
    assert len(epoch) == 8
    for key, size in ((17, 4), (18, 4), (20, 8), (21, 4)):
        (limit,) = fields[key]
        assert len(limit) == size
        assert int.from_bytes(limit, "little") > 0


def test_another_major_version_is_refused(serving: Executor, bystander: Callable[[], None]) -> None:
    with Client(serving.endpoint) as client:
        # What follows the version is nothing that this version could read.
        with pytest.raises(RefusedError, match=r"version.*2") as refused:
            client.open(hello(2, b"\xff" * 7))
        assert (refused.value.code, refused.value.major) == (OTHER_VERSION, 1)
    bystander()


def test_an_unknown_session_is_refused(serving: Executor) -> None:
    with Client(serving.endpoint) as client:
        client.run(synchronize(1))
        with pytest.raises(RefusedError) as refused:
            client.answer(1)
        assert refused.value.code == UNKNOWN_SESSION
        assert refused.value.reason


def test_duplicates_are_dropped_and_gaps_are_asked_for(client: Client) -> None:
    client.run(allocate(1, 1), write(1, 0, b"a"))
    client.send(COMMANDS, write(1, 0, b"b"), sequence=1)  # has been there
    client.send(COMMANDS, write(1, 0, b"c"), sequence=3)  # 2 is missing
    message = client.receive()
    while message.kind != RESUMED:
        message = client.receive()
    assert message.sequence == 2
    client.run(read(1, 1, 0, 1))
    assert client.answer(1) == b"a"


def test_resume_repeats_what_was_not_acknowledged(client: Client) -> None:
    client.run(allocate(1, 4), write(1, 0, b"same"), read(1, 1, 0, 4))
    first = client.receive()
    while first.kind != REPLIES:
        first = client.receive()
    client.send(RESUME)  # which acknowledges nothing
    message = client.receive()
    while message.kind != RESUMED:
        message = client.receive()
    assert message.sequence == 2
    again = client.receive()
    assert (again.kind, again.sequence, again.body) == (REPLIES, first.sequence, first.body)


def test_what_makes_no_sense_from_a_client_is_ignored(client: Client) -> None:
    for kind in (WELCOME, REFUSED, REPLIES, RESUMED):
        client.send(kind, b"whatever")
    client.send(KEEP_ALIVE)
    client.synchronize()


def test_large_writes_and_reads_travel_in_frames(client: Client) -> None:
    data = secrets.token_bytes(2 * FRAME_SIZE + 12345)
    parts = tuple(data[start : start + FRAME_SIZE] for start in range(0, len(data), FRAME_SIZE))
    client.run(
        allocate(1, len(data) + 10),
        write_frames(1, 10, len(data), len(parts)),
        allocate(2, 3),
        write_frames(2, 0, 3, 1),
        read(1, 1, 10, len(data)),
        read(2, 2, 0, 3),
        payload=(*parts, b"abc"),
    )
    assert client.answer(1) == data
    assert client.answer(2) == b"abc"


def test_failures_follow_what_depends_on_them(client: Client) -> None:
    client.run(
        allocate(1, 8),
        write(1, 4, bytes(5)),  # beyond its end: marks 1
        resize(1, 3, 16),
        read(1, 3, 0, 4),
        read(2, 99, 0, 1),  # an unknown id marks nothing
        allocate(99, 1),
        write(99, 0, b"x"),
        read(3, 99, 0, 1),
        free(3, 12345),
        allocate(3, 1),
        write(3, 0, b"y"),
        read(4, 3, 0, 1),
    )
    client.synchronize()
    first, unknown = client.answers[1], client.answers[2]
    assert isinstance(first, Failed)
    assert isinstance(unknown, Failed)
    assert client.failures == [first]
    assert first.operator == "write"
    assert client.answers[3] == b"x"
    assert client.answers[4] == b"y"


def test_an_operator_that_is_not_there_fails_its_calls(client: Client) -> None:
    client.run(
        define_operator(0, 0, b"torch_remote_test::nothing", b""),
        define_plan(0, 0, (), b"\0" + float_layout(1)),
        call(0, struct.pack("<Q", 1)),
        read(1, 1, 0, 4),
    )
    client.synchronize()
    failed = client.answer(1)
    assert isinstance(failed, Failed)
    assert failed.error_kind == 7
    assert failed.operator == "torch_remote_test::nothing"
    assert client.failures == [failed]


# ---- storages against a dict of bytes ----

IDS = (0, 1, 2, 3, 0x4080000000000000, 2**64 - 1)
KINDS = ("allocate", "write", "write frames", "read", "resize", "rename", "free", "send")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.integers(0, 15),  # which of the storages
        st.integers(0, 15),  # which of the free ids
        st.integers(0, 200),
        st.integers(0, 200),
        st.binary(max_size=200),
    ),
    max_size=60,
)


class Model:
    """What the executor has to hold; None where the page leaves a byte undefined."""

    def __init__(self) -> None:
        self.storages: dict[int, list[int | None]] = {}
        self.commands: list[bytes] = []
        self.payload: list[bytes] = []
        self.expected: dict[int, list[int | None]] = {}

    def step(
        self, kind: str, which: int, which_free: int, first: int, second: int, data: bytes
    ) -> None:
        unused = [number for number in IDS if number not in self.storages]
        if kind == "allocate" and unused:
            number = unused[which_free % len(unused)]
            self.storages[number] = [None] * first
            self.commands.append(allocate(number, first))
        if kind == "allocate" or not self.storages:
            return
        number = list(self.storages)[which % len(self.storages)]
        content = self.storages[number]
        offset = first % (len(content) + 1)
        if kind.startswith("write"):
            data = data[: len(content) - offset]
            content[offset : offset + len(data)] = data
            if kind == "write":
                self.commands.append(write(number, offset, data))
            elif data:
                self.commands.append(write_frames(number, offset, len(data), 1))
                self.payload.append(data)
        elif kind == "read":
            size = second % (len(content) - offset + 1)
            token = len(self.expected)
            self.expected[token] = content[offset : offset + size]
            self.commands.append(read(token, number, offset, size))
        elif kind == "free":
            del self.storages[number]
            self.commands.append(free(number))
        elif unused:
            new = unused[which_free % len(unused)]
            kept = self.storages.pop(number)
            if kind == "rename":
                self.commands.append(rename(number, new))
            else:
                kept = (kept + [None] * first)[:first]
                self.commands.append(resize(number, new, first))
            self.storages[new] = kept

    def send(self, client: Client) -> None:
        client.run(*self.commands, payload=tuple(self.payload))
        self.commands, self.payload = [], []

    def run(self, client: Client, steps: list[tuple[str, int, int, int, int, bytes]]) -> None:
        for kind, *details in steps:
            if kind == "send" or len(self.payload) == 64:
                self.send(client)
            if kind != "send":
                self.step(kind, *details)  # type: ignore[arg-type]


def matches(actual: bytes, expected: list[int | None]) -> bool:
    return len(actual) == len(expected) and all(
        byte is None or byte == given for given, byte in zip(actual, expected, strict=True)
    )


@given(steps=STEPS)
def test_storages_hold_what_was_written(
    serving: Executor, steps: list[tuple[str, int, int, int, int, bytes]]
) -> None:
    with Client(serving.endpoint) as client:
        client.open()
        model = Model()
        model.run(client, steps)
        for number, content in model.storages.items():
            token = len(model.expected)
            model.expected[token] = list(content)
            model.commands.append(read(token, number, 0, len(content)))
        model.send(client)
        client.synchronize()
        assert client.failures == []
        for token, content in model.expected.items():
            answer = client.answers[token]
            assert isinstance(answer, bytes), (token, answer)
            assert matches(answer, content)


# ---- bytes that are wrong ----

VALID = (
    allocate(1, 16),
    write(1, 0, b"0123456789abcde"),
    write_frames(1, 4, 3, 1),
    define_operator(0, 0x5A5A, b"aten::add", b"Tensor"),
    define_plan(
        0,
        0,
        (
            struct.pack("<BBB", 1, 0, 0) + float_layout(2),
            struct.pack("<BBB", 1, 0, 8) + float_layout(2),
            b"\x09",
        ),
        b"\0" + float_layout(2),
    ),
    call(0, struct.pack("<QQQqQ", 1, 1, 0, 1, 2)),
    read(1, 1, 0, 16),
    resize(1, 3, 32),
    rename(3, 4),
    command(12, struct.pack("<IQQ", 0, 0, 5)),
    command(13, struct.pack("<IQ", 2, 0)),
    synchronize(3),
    free(4, 2),
)
BODY = b"".join(VALID)
BOUNDARIES = {sum(map(len, VALID[:count])) for count in range(len(VALID) + 1)}


def refusal(client: Client) -> RefusedError:
    """The refusal that the session ends with; an answer that comes before it is none."""
    client.sequence += 1
    client.send(COMMANDS, synchronize(LAST_TOKEN), sequence=client.sequence)
    with pytest.raises(RefusedError) as refused:
        client.answer(LAST_TOKEN)
    return refused.value


def test_the_message_to_spoil_is_valid(client: Client) -> None:
    client.run(BODY, payload=(b"xyz",))
    client.synchronize()
    content = client.answers[1]
    assert isinstance(content, bytes)
    assert content[:15] == b"0123xyz789abcde"
    # Nobody's schema has that hash.
    assert [failed.error_kind for failed in client.failures] == [7]


@given(length=st.sampled_from(sorted(set(range(len(BODY))) - BOUNDARIES)))
def test_a_truncated_message_is_refused(
    serving: Executor, bystander: Callable[[], None], length: int
) -> None:
    with Client(serving.endpoint) as client:
        client.open()
        client.run(BODY[:length], payload=(b"xyz",))
        refused = refusal(client)
        assert refused.code == MALFORMED
        assert refused.reason
    bystander()


@settings(max_examples=200)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(BODY) - 1), st.integers(1, 255)), min_size=1, max_size=4
    ),
    frame=st.binary(max_size=8),
)
def test_changed_bytes_are_refused_or_harmless(
    serving: Executor,
    bystander: Callable[[], None],
    changes: list[tuple[int, int]],
    frame: bytes,
) -> None:
    body = bytearray(BODY)
    for position, change in changes:
        body[position] ^= change
    with Client(serving.endpoint) as client:
        client.open()
        client.run(bytes(body), payload=(frame,))
        refused = None
        try:
            client.synchronize()
        except RefusedError as error:
            refused = error
        assert refused is None or (refused.code == MALFORMED and refused.reason)
    bystander()


PLAN = define_plan(0, 0, (), b"\0" + float_layout(1))
OPERATOR = define_operator(0, 0, b"aten::ones", b"")
WRONG_COMMANDS: dict[str, tuple[bytes, ...]] = {
    "unknown kind": (command(99, bytes(4)),),
    "length of nothing": (struct.pack("<I", 15),),
    "length beyond the end": (struct.pack("<II", 15 | 9 << 8, 1),),
    "half a word": (b"\x0f\x02\x00\x00\x01\x00\x00\x00\x00",),
    "fields missing": (command(5, bytes(8)),),
    "write that claims more": (command(7, struct.pack("<IQQQ", 0, 1, 0, 1000)),),
    "frames that are not there": (allocate(1, 8), write_frames(1, 0, 8, 1)),
    "frames beyond 64": (allocate(1, 8), write_frames(1, 0, 8, 65)),
    "read of more than 64 MiB": (read(1, 1, 0, (64 << 20) + 1),),
    "storage of more than 2^48 bytes": (allocate(1, (1 << 48) + 1),),
    "offset that overflows": (allocate(1, 8), read(1, 1, 2**64 - 4, 8)),
    "operator number": (define_operator(0xFFFF_FFFF, 0, b"aten::add", b"Tensor"),),
    "operator name of 1025 bytes": (define_operator(0, 0, b"a" * 1025, b""),),
    "plan number": (OPERATOR, define_plan(0xFFFF_FFFF, 0, (), b"\0" + float_layout(1))),
    "plan of no operator": (define_plan(0, 77, (), b"\0" + float_layout(1)),),
    "call of no plan": (call(77),),
    "call without values": (OPERATOR, PLAN, call(0)),
    "call with too many values": (OPERATOR, PLAN, call(0, bytes(16))),
    "call that wants a description": (
        OPERATOR,
        PLAN,
        command(4, struct.pack("<IIQQ", 0, 1, 5, 1)),
    ),
    "argument kind": (OPERATOR, define_plan(0, 0, (b"\xc8",), b"\0" + float_layout(1))),
    "output kind": (OPERATOR, define_plan(0, 0, (), b"\xc8" + float_layout(1))),
    "dtype": (OPERATOR, define_plan(0, 0, (), b"\0" + float_layout(1, dtype=12))),
    "negative size": (OPERATOR, define_plan(0, 0, (), b"\0" + float_layout(-1))),
    "65 dimensions": (OPERATOR, define_plan(0, 0, (), b"\0" + float_layout(*[1] * 65))),
    "more elements than fit": (
        OPERATOR,
        define_plan(0, 0, (), b"\0" + float_layout(*[1 << 20] * 4)),
    ),
    "access": (OPERATOR, define_plan(0, 0, (b"\1\2\0" + float_layout(1),), b"\1")),
    "offset size": (OPERATOR, define_plan(0, 0, (b"\1\0\3" + float_layout(1),), b"\1")),
    "list in a list": (
        OPERATOR,
        define_plan(0, 0, (b"\3\1\0\0\0\3\0\0\0\0",), b"\0" + float_layout(1)),
    ),
    "list of 2^32 - 1 elements": (
        OPERATOR,
        define_plan(0, 0, (b"\3\xff\xff\xff\xff",), b"\0" + float_layout(1)),
    ),
    "generator state of more than 64 KiB": (
        command(14, struct.pack("<IQI", 0, 0, 70_000) + bytes(70_000)),
    ),
}


@pytest.mark.parametrize("name", WRONG_COMMANDS)
def test_wrong_commands_are_refused(
    client: Client, bystander: Callable[[], None], name: str
) -> None:
    client.run(*WRONG_COMMANDS[name])
    refused = refusal(client)
    assert refused.code == MALFORMED
    assert refused.reason
    bystander()


WRONG_MESSAGES: dict[str, Callable[[Client], tuple[bytes, ...]]] = {
    "magic": lambda client: (envelope(COMMANDS, client.session, 1, magic=1), synchronize(1)),
    "short envelope": lambda client: (envelope(COMMANDS, client.session, 1)[:39], synchronize(1)),
    "long envelope": lambda client: (envelope(COMMANDS, client.session, 1) + b"\0",),
    "empty": lambda _: (b"",),
    "unknown kind": lambda client: (envelope(200, client.session),),
    "acknowledges what was never sent": lambda client: (
        envelope(COMMANDS, client.session, 1, 1000),
        synchronize(1),
    ),
    "65 payload frames": lambda client: (
        envelope(COMMANDS, client.session, 1),
        synchronize(1),
        *[b"x"] * 65,
    ),
    "frame of another size": lambda client: (
        envelope(COMMANDS, client.session, 1),
        allocate(1, 8) + write_frames(1, 0, 8, 1),
        b"seven..",
    ),
}


@pytest.mark.parametrize("name", WRONG_MESSAGES)
def test_wrong_messages_are_refused(
    client: Client, bystander: Callable[[], None], name: str
) -> None:
    client.send_frames(*WRONG_MESSAGES[name](client))
    with pytest.raises(RefusedError) as refused:
        client.answer(LAST_TOKEN)
    assert refused.value.code == MALFORMED
    assert refused.value.reason
    bystander()


@pytest.mark.parametrize("name", WRONG_MESSAGES)
def test_wrong_messages_end_the_session(client: Client, name: str) -> None:
    client.send_frames(*WRONG_MESSAGES[name](client))
    with pytest.raises(RefusedError):
        client.answer(LAST_TOKEN)
    later = None
    # Until the executor has put the session away it may say nothing.
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        client.send(RESUME)
        try:
            assert client.receive(0.2).kind != RESUMED, "the session goes on"
        except TimeoutError:
            continue
        except RefusedError as error:
            later = error
            break
    assert later is not None, "the executor says nothing any more"
    assert later.code == UNKNOWN_SESSION


WRONG_HELLOS = {
    "empty": b"",
    "magic": b"\0" * 8,
    "short": hello()[:7],
    "half a field": hello(fields=b"\1\0"),
    "field beyond the end": hello(fields=struct.pack("<HI", 1, 100)),
    "number of another size": hello(fields=hello_field(3, b"\1")),
    "more than 64 KiB": hello(fields=hello_field(1, bytes(1 << 16))),
}


@pytest.mark.parametrize("name", WRONG_HELLOS)
def test_wrong_hellos_are_refused(
    serving: Executor, bystander: Callable[[], None], name: str
) -> None:
    with Client(serving.endpoint) as client:
        with pytest.raises(RefusedError) as refused:
            client.open(WRONG_HELLOS[name])
        assert refused.value.code == MALFORMED
        assert refused.value.reason
    bystander()
