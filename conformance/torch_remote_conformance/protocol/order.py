# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of order, acknowledgement, and replay over a connection that broke."""

from torch_remote_conformance.protocol.client import Client
from torch_remote_conformance.protocol.commands import allocate, read, synchronize, write
from torch_remote_conformance.protocol.executor import Checks, Executor, expect_refused
from torch_remote_conformance.protocol.wire import (
    FROM_CLIENT,
    Code,
    Kind,
    Message,
    RefusedError,
    envelope,
    expect,
)

ORDER = Checks("order")
ACKNOWLEDGE = Checks("acknowledge")

_ACKNOWLEDGED_AFTER = 8


def _until(client: Client, kind: Kind) -> tuple[list[Message], Message]:
    """What comes before a message of this kind, and that one; none of them is handled."""
    before = []
    while (received := client.receive()).kind is not kind:
        before.append(received)
    return before, received


@ORDER.case("sequences_count_from_1_without_gaps")
def _sequences(executor: Executor) -> None:
    with executor.session() as client:
        for token in range(50):
            client.run(synchronize(token))
        for token in range(50):  # the client takes nothing out of order
            client.answer(token)
        expect(client.acknowledged > 0, "replies without sequences")


@ORDER.case("commands_are_done_in_their_order")
def _commands(executor: Executor) -> None:
    with executor.session() as client:
        for number in range(100):
            made = (allocate(1, 4),) if number == 0 else ()
            client.run(*made, write(1, number.to_bytes(4, "little")), read(number, 1, 4))
        for number in range(100):
            executor.expect_bytes(client.answer(number), number.to_bytes(4, "little"))


@ORDER.case("duplicates_are_dropped")
def _duplicates(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 1), write(1, b"a"))
        client.run(synchronize(1))
        # A duplicate is known by its sequence, not by what is in it.
        for sequence in (1, 2, 0, 1):
            client.send(Kind.COMMANDS, write(1, b"b") + synchronize(2), sequence=sequence)
        executor.expect_bytes(client.read(1, 1), b"a")
        client.synchronize(3)
        expect(2 not in client.answers, "a duplicate was executed")


@ORDER.case("gap_asks_resumed_once")
def _gap(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 1), write(1, b"a"))
        for sequence in (3, 4, 5, 4):  # 2 is missing
            client.send(Kind.COMMANDS, write(1, b"c"), sequence=sequence)
        client.resume()  # answered by a resumed of its own, behind all that the gap has brought
        asked = [_until(client, Kind.RESUMED)[1].sequence for _ in range(2)]
        expect(asked == [2, 2], f"{asked} were asked for")
        client.run(read(1, 1, 1))
        before = _until_answer(client, 1)
        again = [message.sequence for message in before if message.kind is Kind.RESUMED]
        expect(not again, f"{again} were asked for again")
        executor.expect_bytes(client.answers.pop(1), b"a")


def _until_answer(client: Client, token: int) -> list[Message]:
    seen = []
    while token not in client.answers:
        seen.append(client.receive())
        if seen[-1].kind is Kind.REPLIES:
            client.handle(seen[-1])
    return seen


@ORDER.case("every_gap_asks_again")
def _gaps(executor: Executor) -> None:
    with executor.session() as client:
        for number in range(1, 4):
            client.send(Kind.COMMANDS, sequence=client.sequence + 2)
            _, resumed = _until(client, Kind.RESUMED)
            expect(resumed.sequence == client.sequence + 1, f"{resumed.sequence} was asked for")
            client.synchronize(number)


@ORDER.case("lost_commands_are_executed_once")
def _lost(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 2), write(1, b"a"))
        client.lose(write(1, b"b"))
        client.lose(write(1, b"c", 1), read(1, 1, 2))
        client.run(synchronize(2))  # shows the gap; the client sends 2, 3 and 4 again
        executor.expect_bytes(client.answer(1), b"bc")
        expect(client.answer(2) is None, "not answered")
        expect(client.executed == 4, f"{client.executed} of 4 acknowledged")


@ORDER.case("resume_tells_what_is_expected")
def _resume(executor: Executor) -> None:
    with executor.session() as client:
        for expected in (1, 2, 3):
            client.resume()
            resumed = client.wait_for(Kind.RESUMED)
            expect(resumed.sequence == expected, f"{resumed.sequence} instead of {expected}")
            client.synchronize()


def _asked_twice(client: Client, *tokens: int) -> None:
    client.run(allocate(1, 4), write(1, b"same"))
    for token in tokens:
        client.run(read(token, 1, 4))


@ORDER.case("resume_repeats_what_is_not_acknowledged")
def _repeats(executor: Executor) -> None:
    with executor.session() as client:
        _asked_twice(client, 1, 2, 3)
        first: list[Message] = []
        while len(first) < 3:
            message = client.receive()
            first += [message] if message.kind is Kind.REPLIES else []
        client.resume()  # which acknowledges nothing
        _, resumed = _until(client, Kind.RESUMED)
        expect(resumed.sequence == 5, f"{resumed.sequence} instead of 5")
        again = [client.receive() for _ in range(3)]
        _expect_same(again, first)
        client.handle(again[0])
        client.resume()  # acknowledges the first
        _until(client, Kind.RESUMED)
        _expect_same([client.receive(), client.receive()], first[1:])
        for message in first[1:]:
            client.handle(message)
        for token in (1, 2, 3):
            executor.expect_bytes(client.answer(token), b"same")
        client.synchronize()


def _expect_same(again: list[Message], first: list[Message]) -> None:
    for one, other in zip(again, first, strict=True):
        expect(
            (one.kind, one.sequence, one.body, one.payload)
            == (other.kind, other.sequence, other.body, other.payload),
            f"{one} was {other} before",
        )


@ORDER.case("replay_after_resume")
def _handover(executor: Executor) -> None:
    """A connection breaks and takes answers with it; the next one has the same routing id."""
    with executor.session() as client:
        _asked_twice(client, 1)
        while client.receive().kind is not Kind.REPLIES:
            pass  # the answer is there, and gets lost here
        client.reconnect()
        executor.expect_bytes(client.answer(1), b"same")
        executor.expect_bytes(client.read(1, 4), b"same")


@ORDER.case("commands_lost_with_a_connection_are_executed")
def _lost_with_connection(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 4), write(1, b"same"))
        client.synchronize()
        for number in range(3):
            client.lose(write(1, bytes([97 + number]), number))
        client.reconnect()
        executor.expect_bytes(client.read(1, 4), b"abce")


@ORDER.case("a_session_survives_many_connections")
def _many_connections(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 4))
        for number in range(20):
            data = number.to_bytes(4, "little")
            client.run(write(1, data), read(number, 1, 4))
            client.reconnect()
            executor.expect_bytes(client.answer(number), data)


@ACKNOWLEDGE.case("after_eight_messages")
def _eight(executor: Executor) -> None:
    with executor.session() as client:
        for _ in range(100):
            client.run()
        before = 0
        while client.executed < client.sequence:
            client.receive()
            step = client.executed - before
            expect(step <= _ACKNOWLEDGED_AFTER, f"{step} messages without an acknowledgement")
            before = client.executed


@ACKNOWLEDGE.case("when_nothing_is_left_to_do")
def _idle(executor: Executor) -> None:
    with executor.session() as client:
        for _ in range(3):
            client.run(allocate(client.sequence, 1))
            while client.executed < client.sequence:
                client.wait_for(Kind.ACKNOWLEDGE)


@ACKNOWLEDGE.case("replies_acknowledge")
def _replies(executor: Executor) -> None:
    with executor.session() as client:
        for count in range(1, 6):
            client.synchronize()
            expect(client.executed == count, f"{client.executed} of {count} acknowledged")


@ACKNOWLEDGE.case(
    "of_never_sent_is_refused", each={kind.name.lower(): kind for kind in sorted(FROM_CLIENT)}
)
def _never_sent(executor: Executor, kind: Kind) -> None:
    with executor.undisturbed(), executor.session() as client:
        client.synchronize()
        sequence = client.sequence + 1 if kind is Kind.COMMANDS else 0
        client.send_frames(envelope(kind, client.session, sequence, client.acknowledged + 1))
        try:
            while True:
                client.receive()
        except RefusedError as refused:
            expect_refused(refused, Code.MALFORMED)
