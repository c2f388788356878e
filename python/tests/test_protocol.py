# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""docs/PROTOCOL.md is enough to write a client from: what it says, with a client written from it."""

import re
import secrets
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import PACKAGES, Executor
from protocol_client import (
    COMMANDS,
    FRAME_SIZE,
    HELLO,
    KEEP_ALIVE,
    OTHER_VERSION,
    REFUSED,
    REPLIES,
    RESUME,
    RESUMED,
    STORAGE_LIMIT,
    UNKNOWN_SESSION,
    WELCOME,
    Client,
    Failed,
    RefusedError,
    allocate,
    call,
    define_operator,
    define_plan,
    envelope,
    float_layout,
    free,
    hello,
    hello_field,
    read,
    rename,
    resize,
    synchronize,
    write,
    write_frames,
)

PAGE = PACKAGES.parent / "docs" / "PROTOCOL.md"


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
