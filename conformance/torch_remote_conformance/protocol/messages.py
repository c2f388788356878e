# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of envelopes and frames: what a message is, and what is none."""

from collections.abc import Callable

from torch_remote_conformance.protocol.client import LAST_TOKEN, Client
from torch_remote_conformance.protocol.commands import allocate, synchronize, write, write_frames
from torch_remote_conformance.protocol.executor import Checks, Executor, expect_refused
from torch_remote_conformance.protocol.wire import (
    FRAME_SIZE_MAX,
    FRAMES_MAX,
    FROM_CLIENT,
    Code,
    Kind,
    RefusedError,
    envelope,
    expect,
)

CHECKS = Checks("envelope")

#: Makes the frames of a message that breaks the protocol.
Spoiled = Callable[[Client], tuple[bytes, ...]]


def _first(client: Client, **changes: int) -> bytes:
    return envelope(Kind.COMMANDS, client.session, 1, **changes)


_MESSAGES: dict[str, Spoiled] = {
    "no envelope": lambda _: (b"",),
    "other magic": lambda client: (_first(client, magic=1), synchronize(1)),
    "39 bytes": lambda client: (_first(client)[:39], synchronize(1)),
    "41 bytes": lambda client: (_first(client) + b"\0", synchronize(1)),
    "body in the place of the envelope": lambda _: (synchronize(1), synchronize(2)),
    "kind 0": lambda client: (envelope(0, client.session),),
    "kind 200": lambda client: (envelope(200, client.session),),
    "kind 255": lambda client: (envelope(255, client.session), b"body"),
    "65 payload frames": lambda client: (_first(client), synchronize(1), *[b"x"] * 65),
    "1000 payload frames": lambda client: (_first(client), synchronize(1), *[b""] * 1000),
}


def _end(client: Client) -> RefusedError:
    try:
        client.answer(LAST_TOKEN)
    except RefusedError as refused:
        return refused
    raise AssertionError("answered")


@CHECKS.case("malformed_is_refused", each=_MESSAGES)
def _malformed(executor: Executor, frames: Spoiled) -> None:
    with executor.undisturbed(), executor.session() as client:
        client.send_frames(*frames(client))
        expect_refused(_end(client), Code.MALFORMED)


@CHECKS.case("malformed_ends_the_session", each=_MESSAGES)
def _ends(executor: Executor, frames: Spoiled) -> None:
    with executor.session() as client:
        client.send_frames(*frames(client))
        _end(client)
        expect_refused(client.ended(), Code.UNKNOWN_SESSION)


@CHECKS.case("malformed_without_a_session_is_refused", each=_MESSAGES)
def _without_session(executor: Executor, frames: Spoiled) -> None:
    with executor.undisturbed(), executor.client() as client:
        client.send_frames(*frames(client))
        expect_refused(_end(client), Code.MALFORMED)


@CHECKS.case("reserved_bytes_are_ignored")
def _reserved(executor: Executor) -> None:
    with executor.session() as client:
        client.send_frames(envelope(Kind.KEEP_ALIVE, client.session, reserved=0xFF))
        client.lose(synchronize(1))
        client.send_frames(
            envelope(Kind.COMMANDS, client.session, 1, reserved=0xFF), synchronize(1)
        )
        expect(client.answer(1) is None, "not answered")


@CHECKS.case("kinds_of_the_other_side_are_ignored")
def _other_side(executor: Executor) -> None:
    with executor.session() as client:
        for kind in (Kind.WELCOME, Kind.REFUSED, Kind.REPLIES, Kind.RESUMED):
            client.send(kind)
            client.send(kind, b"whatever", b"frames")
        client.synchronize()


@CHECKS.case("frames_behind_control_messages_are_ignored")
def _control(executor: Executor) -> None:
    with executor.session() as client:
        for kind in sorted(FROM_CLIENT - {Kind.COMMANDS, Kind.RESUME}):
            client.send(kind, b"no body belongs here", b"nor payload")
        client.synchronize()


@CHECKS.case("commands_may_be_none")
def _none(executor: Executor) -> None:
    with executor.session() as client:
        client.run()
        client.sequence += 1
        client.send(Kind.COMMANDS, sequence=client.sequence)  # without even a body
        client.synchronize()


@CHECKS.case("64_payload_frames_are_taken")
def _most_frames(executor: Executor) -> None:
    frames = (b"x",) * FRAMES_MAX
    with executor.session() as client:
        client.run(allocate(1, FRAMES_MAX), write_frames(1, FRAMES_MAX, FRAMES_MAX), payload=frames)
        executor.expect_bytes(client.read(1, FRAMES_MAX), b"x" * FRAMES_MAX)
        expect(client.failures == [], f"{client.failures}")


@CHECKS.case("payload_frames_that_no_command_names_are_ignored")
def _unnamed(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 3), write_frames(1, 3, 1), payload=(b"abc", b"more", b""))
        client.run(synchronize(1), payload=(b"x",) * FRAMES_MAX)
        executor.expect_bytes(client.read(1, 3), b"abc")


@CHECKS.case("frames_beyond_64_mib_are_not_taken")
def _too_long(executor: Executor) -> None:
    """Whether the executor refuses the session then or drops the connection, nothing of the message is done."""
    with executor.undisturbed(), executor.session() as client:
        client.run(allocate(1, 1), write(1, b"a"), synchronize(1))
        client.answer(1)
        client.send(Kind.COMMANDS, write(1, b"b"), bytes(FRAME_SIZE_MAX + 1), sequence=2)
        refused = client.outcome()
        if refused is not None:
            expect_refused(refused, Code.MALFORMED)
        else:
            executor.expect_bytes(client.read(1, 1), b"a")
