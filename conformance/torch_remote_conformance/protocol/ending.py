# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of a session's end: goodbye, sessions that are not known, and clients that only live."""

import time

from torch_remote_conformance.protocol.client import ANSWER_S, Client
from torch_remote_conformance.protocol.commands import allocate, write
from torch_remote_conformance.protocol.executor import (
    Checks,
    Executor,
    computes,
    expect_refused,
)
from torch_remote_conformance.protocol.replies import Failed
from torch_remote_conformance.protocol.wire import (
    FROM_CLIENT,
    Code,
    Kind,
    RefusedError,
    Welcome,
    expect,
    welcome,
)

SESSION = Checks("session")
GOODBYE = Checks("goodbye")
KEEP_ALIVE = Checks("keep_alive")

#: More than an executor has sessions at a time, unless it was told otherwise.
_SESSIONS = 100


@SESSION.case("unknown_is_refused", each={kind.name.lower(): kind for kind in sorted(FROM_CLIENT)})
def _unknown(executor: Executor, kind: Kind) -> None:
    with executor.undisturbed(), executor.client() as client:
        client.send(kind, sequence=1 if kind is Kind.COMMANDS else 0)
        try:
            client.receive()
        except RefusedError as refused:
            expect_refused(refused, Code.UNKNOWN_SESSION)
        else:
            raise AssertionError("answered otherwise")


@SESSION.case("unknown_may_be_opened_then")
def _opened_then(executor: Executor) -> None:
    with executor.client() as client:
        client.send(Kind.RESUME)
        try:
            client.receive()
        except RefusedError:
            client.open()
        client.synchronize()


@SESSION.case("numbers_of_any_size")
def _numbers(executor: Executor) -> None:
    for number in (0xFFFF_FFFF_FFFF_FFFF, 1 << 63):
        with executor.client(number) as client:
            _welcomed_at_last(client)
            client.synchronize()


def _welcomed_at_last(client: Client) -> Welcome:
    """Opens a session that may not have been put away yet, or for which there is no room yet."""
    deadline = time.monotonic() + ANSWER_S
    while True:
        client.send_hello()
        try:
            received = client.receive(0.5)
            if received.kind is Kind.WELCOME:
                return welcome(received.body)
        except TimeoutError:
            if time.monotonic() > deadline:
                raise
        except RefusedError as refused:
            if refused.code is not Code.TOO_MANY_SESSIONS or time.monotonic() > deadline:
                raise


@SESSION.case("several_share_nothing")
def _several(executor: Executor) -> None:
    with executor.session() as first, executor.session() as second:
        for client, data in ((first, b"first"), (second, b"other")):
            client.run(allocate(1, 5), write(1, data))
        executor.expect_bytes(first.read(1, 5), b"first")
        executor.expect_bytes(second.read(1, 5), b"other")
        first.close()
        executor.expect_bytes(second.read(1, 5), b"other")


@GOODBYE.case("ends_the_session")
def _ends(executor: Executor) -> None:
    with executor.undisturbed(), executor.session() as client:
        client.run(allocate(1, 1))
        client.synchronize()
        client.send(Kind.GOODBYE)
        expect_refused(client.ended(), Code.UNKNOWN_SESSION)


@GOODBYE.case("frees_the_storages", applies=computes)
def _frees(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 1))
        client.synchronize()
        client.send(Kind.GOODBYE)
        client.ended()
        # The same number again is another session.
        with executor.client(client.session) as again:
            _welcomed_at_last(again)
            expect(isinstance(again.read(1, 1), Failed), "the storage is still there")


@GOODBYE.case("frees_the_place_of_a_session")
def _places(executor: Executor) -> None:
    for _ in range(_SESSIONS):
        with executor.client() as client:
            _welcomed_at_last(client)


@GOODBYE.case("of_an_unknown_session_is_not_answered")
def _unknown_goodbye(executor: Executor) -> None:
    with executor.client() as client:
        client.send(Kind.GOODBYE)
        client.send(Kind.GOODBYE)
        client.open()  # raises what came before the welcome
        client.synchronize()


@KEEP_ALIVE.case("is_not_answered")
def _keep_alive(executor: Executor) -> None:
    with executor.session() as client:
        for _ in range(10):
            client.send(Kind.KEEP_ALIVE)
        client.resume()
        expect(client.receive().kind is Kind.RESUMED, "keep alive was answered")
        client.synchronize()
