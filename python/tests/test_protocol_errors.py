# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bytes that break the protocol: refused with a reason, and nobody else is disturbed."""

import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import Executor
from protocol_client import (
    ANSWER_S,
    COMMANDS,
    LAST_TOKEN,
    MALFORMED,
    RESUME,
    RESUMED,
    UNKNOWN_SESSION,
    Client,
    RefusedError,
    allocate,
    call,
    command,
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
