# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of valid messages that were cut or changed: refused, or valid still, and nobody else is disturbed."""

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from torch_remote_conformance.protocol import plans
from torch_remote_conformance.protocol.client import Client
from torch_remote_conformance.protocol.commands import (
    Command,
    allocate,
    call,
    call_and_describe,
    define_plan,
    define_schema,
    elapsed_time,
    empty_cache,
    free,
    free_event,
    get_generator_state,
    get_memory_statistics,
    query_event,
    read,
    record_event,
    record_stream,
    rename,
    reset_peak_memory,
    resize,
    seed,
    set_generator_state,
    synchronize,
    synchronize_event,
    use_stream,
    wait_event,
    write,
    write_frames,
)
from torch_remote_conformance.protocol.executor import Checks, Executor, expect_refused
from torch_remote_conformance.protocol.plans import fresh, layout, tensor
from torch_remote_conformance.protocol.samples import ADD, A, X, Y, ids, longs, schema, vector
from torch_remote_conformance.protocol.wire import (
    Code,
    Kind,
    RefusedError,
    envelope,
    expect,
)

CHECKS = Checks("malformed")

#: Sessions that are open together, so that a far executor isn't waited for once each.
_TOGETHER = 8
_MUTATIONS = 48


@dataclass(frozen=True)
class _Valid:
    """A command, and what has to come before it."""

    command: bytes
    before: bytes = b""
    payload: tuple[bytes, ...] = ()


_STORAGE = allocate(X, 16) + write(X, b"0123456789abcdef")
_ADD = define_plan(
    0,
    0,
    (vector(2), tensor(layout(2), offset_size=8), plans.VARYING_INTEGER),
    (fresh(layout(2)),),
)
_EVERYTHING = define_plan(
    0,
    0,
    (
        *(plans.NONE, vector(2), plans.UNDEFINED, plans.tensors(vector(1), plans.UNDEFINED)),
        *(plans.host_scalar(plans.FLOAT64, wrapped=True), plans.integer(1), plans.boolean(True)),
        *(plans.double(0.5), plans.complex_number(1j), plans.VARYING_INTEGER),
        *(plans.VARYING_BOOLEAN, plans.VARYING_DOUBLE, plans.VARYING_COMPLEX),
        *(plans.numbers(plans.integer(1), plans.VARYING_DOUBLE), plans.integers(1, 2)),
        *(plans.doubles(1.0), plans.booleans(True, False), plans.string("text")),
        *(plans.device(), plans.GENERATOR),
    ),
    (
        *(fresh(layout(2, 3)), plans.ARGUMENT, plans.UNDEFINED_OUTPUT),
        plans.output_list(fresh(layout(1)), plans.UNDEFINED_OUTPUT),
    ),
)
_OPERATOR = define_schema(0, ADD)
_NONZERO = define_schema(0, schema("nonzero")) + define_plan(0, 0, (vector(4),), describes=True)
_EVENTS = record_event(1, with_time=True) + record_event(2, with_time=True)

VALID: dict[Command, _Valid] = {
    Command.DEFINE_OPERATOR: _Valid(_OPERATOR),
    Command.DEFINE_PLAN: _Valid(_EVERYTHING, _OPERATOR),
    Command.CALL: _Valid(call(0, ids(X, X) + longs(1, 2) + ids(A)), _STORAGE + _OPERATOR + _ADD),
    Command.CALL_AND_DESCRIBE: _Valid(call_and_describe(0, 1, A, ids(X)), _STORAGE + _NONZERO),
    Command.ALLOCATE: _Valid(allocate(X, 16)),
    Command.FREE: _Valid(free(X, Y, A), _STORAGE),
    Command.WRITE: _Valid(write(X, b"abcdefgh", 4), _STORAGE),
    Command.WRITE_FRAMES: _Valid(write_frames(X, 3, 1, 4), _STORAGE, (b"xyz",)),
    Command.READ: _Valid(read(1, X, 16), _STORAGE),
    Command.RESIZE: _Valid(resize(X, Y, 32), _STORAGE),
    Command.RENAME: _Valid(rename(X, Y), _STORAGE),
    Command.SEED: _Valid(seed(0, 5)),
    Command.GET_GENERATOR_STATE: _Valid(get_generator_state(1, 0)),
    Command.SET_GENERATOR_STATE: _Valid(set_generator_state(0, b"some state")),
    Command.SYNCHRONIZE: _Valid(synchronize(1)),
    Command.USE_STREAM: _Valid(use_stream(1)),
    Command.RECORD_EVENT: _Valid(record_event(1, with_time=True)),
    Command.WAIT_EVENT: _Valid(wait_event(1), _EVENTS),
    Command.FREE_EVENT: _Valid(free_event(1), _EVENTS),
    Command.QUERY_EVENT: _Valid(query_event(1, 1), _EVENTS),
    Command.SYNCHRONIZE_EVENT: _Valid(synchronize_event(1, 1), _EVENTS),
    Command.ELAPSED_TIME: _Valid(elapsed_time(1, 1, 2), _EVENTS + synchronize(2)),
    Command.RECORD_STREAM: _Valid(record_stream(1, X), _STORAGE),
    Command.GET_MEMORY_STATISTICS: _Valid(get_memory_statistics(1)),
    Command.RESET_PEAK_MEMORY: _Valid(reset_peak_memory()),
    Command.EMPTY_CACHE: _Valid(empty_cache()),
}
_EACH = {kind.name.lower().replace("_", " "): valid for kind, valid in VALID.items()}


@dataclass(frozen=True)
class _Spoiled:
    """A message for a session of its own."""

    label: str
    frames: tuple[bytes, ...]
    #: None: commands, with the next sequence.
    envelope: bytes | None = None


def _outcomes(
    executor: Executor, messages: Sequence[_Spoiled]
) -> Iterator[tuple[_Spoiled, RefusedError | None]]:
    """What becomes of each: a refusal, or None where its session goes on. Others are not disturbed."""
    left = iter(messages)
    while some := list(islice(left, _TOGETHER)):
        with executor.undisturbed():
            clients = [executor.client(trusts_tokens=False) for _ in some]
            try:
                yield from zip(some, _sent(clients, some), strict=True)
            finally:
                for client in clients:
                    client.close()


def _sent(clients: list[Client], messages: list[_Spoiled]) -> list[RefusedError | None]:
    for client in clients:
        client.send_hello()
    for client in clients:
        client.receive_welcome()
    for client, message in zip(clients, messages, strict=True):
        if message.envelope is None:
            client.run(*message.frames[:1], payload=message.frames[1:])
        else:
            client.sequence = 1
            first = message.envelope[:8] + struct.pack("<Q", client.session) + message.envelope[16:]
            client.send_frames(first, *message.frames)
        client.resume()
    return [client.outcome() for client in clients]


def _expect_valid_or_refused(spoiled: _Spoiled, refused: RefusedError | None) -> None:
    if refused is not None:
        try:
            expect_refused(refused, Code.MALFORMED)
        except AssertionError as error:
            raise AssertionError(f"{spoiled.label}: {error}") from error


@CHECKS.case("nothing_was_changed_yet", each=_EACH)
def _valid(executor: Executor, valid: _Valid) -> None:
    """What the other cases begin with is taken."""
    [(_, refused)] = _outcomes(executor, [_message("", valid, valid.command)])
    expect(refused is None, f"{refused}")


def _message(label: str, valid: _Valid, command: bytes) -> _Spoiled:
    return _Spoiled(label, (valid.before + command, *valid.payload))


@CHECKS.case("truncated_is_refused", each=_EACH)
def _truncated(executor: Executor, valid: _Valid) -> None:
    cuts = [
        _message(f"{size} bytes", valid, valid.command[:size])
        for size in range(1, len(valid.command))
    ]
    for spoiled, refused in _outcomes(executor, cuts):
        expect(refused is not None, f"the first {spoiled.label} of {len(valid.command)} were taken")
        _expect_valid_or_refused(spoiled, refused)


@CHECKS.case("shortened_is_refused_or_valid", each=_EACH)
def _shortened(executor: Executor, valid: _Valid) -> None:
    """Words are missing, and the head says so."""
    (head,) = struct.unpack_from("<I", valid.command)
    cuts = [
        _message(
            f"{words} words",
            valid,
            struct.pack("<I", head & 0xFF | words << 8) + valid.command[4 : 4 * words],
        )
        for words in range(head >> 8)
    ]
    for spoiled, refused in _outcomes(executor, cuts):
        _expect_valid_or_refused(spoiled, refused)


def _changed(data: bytes, chosen: random.Random) -> bytes:
    """The same with one to four bytes that are others: any, or those where mistakes are made."""
    changed = bytearray(data)
    for _ in range(chosen.randint(1, 4)):
        position = chosen.randrange(len(changed))
        changed[position] = chosen.choice((0, 1, 0x7F, 0x80, 0xFF, chosen.randrange(256)))
    return bytes(changed)


@CHECKS.case("changed_is_refused_or_valid", each=_EACH)
def _mutated(executor: Executor, valid: _Valid) -> None:
    chosen = random.Random(executor.seed * 1000 + len(valid.command))
    messages = []
    for _ in range(_MUTATIONS):
        command = _changed(valid.command, chosen)
        messages.append(_message(command.hex(" "), valid, command))
    for spoiled, refused in _outcomes(executor, messages):
        _expect_valid_or_refused(spoiled, refused)


@CHECKS.case("any_bytes_are_refused_or_valid")
def _noise(executor: Executor) -> None:
    chosen = random.Random(executor.seed)
    messages = []
    for _ in range(4 * _MUTATIONS):
        body = chosen.randbytes(chosen.randrange(200))
        payload = [chosen.randbytes(chosen.randrange(9)) for _ in range(chosen.randrange(3))]
        messages.append(_Spoiled(body.hex(" "), (body, *payload)))
    for spoiled, refused in _outcomes(executor, messages):
        _expect_valid_or_refused(spoiled, refused)


@CHECKS.case("changed_envelope_is_refused_or_valid")
def _envelopes(executor: Executor) -> None:
    chosen = random.Random(executor.seed)
    messages = []
    for _ in range(2 * _MUTATIONS):
        first = _changed(envelope(Kind.COMMANDS, 0, 1, 0), chosen)
        messages.append(_Spoiled(first.hex(" "), (synchronize(1),), envelope=first))
    for spoiled, refused in _outcomes(executor, messages):
        # A kind that became goodbye ends the session as well.
        if refused is None or refused.code is not Code.UNKNOWN_SESSION:
            _expect_valid_or_refused(spoiled, refused)
