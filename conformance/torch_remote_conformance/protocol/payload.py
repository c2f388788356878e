# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of payload frames."""

from torch_remote_conformance.protocol.commands import (
    allocate,
    free,
    read,
    write_frames,
)
from torch_remote_conformance.protocol.executor import Checks, Executor, expect_refused
from torch_remote_conformance.protocol.programs import pattern
from torch_remote_conformance.protocol.wire import (
    FRAME_SIZE,
    FRAMES_MAX,
    READ_SIZE_MAX,
    Code,
    expect,
)

CHECKS = Checks("payload")


def _frames(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[start : start + FRAME_SIZE] for start in range(0, len(data), FRAME_SIZE))


@CHECKS.case("large_writes_and_reads")
def _large(executor: Executor) -> None:
    with executor.session() as client:
        for size in (FRAME_SIZE - 1, FRAME_SIZE, FRAME_SIZE + 1, 2 * FRAME_SIZE + 12_345):
            data = pattern(size)
            parts = _frames(data)
            client.run(allocate(1, size + 10), write_frames(1, size, len(parts), 10), payload=parts)
            executor.expect_bytes(client.read(1, size, 10), data)
            executor.expect_bytes(client.read(1, 100_000, 500_000), data[499_990:599_990])
            client.run(free(1))
        expect(client.failures == [], f"{client.failures}")


@CHECKS.case("commands_take_their_frames_in_order")
def _in_order(executor: Executor) -> None:
    first, second = pattern(FRAME_SIZE + 5), pattern(7)
    with executor.session() as client:
        client.run(
            allocate(1, len(first)),
            write_frames(1, len(first), 2),
            allocate(2, len(second)),
            write_frames(2, len(second), 1),
            read(1, 1, len(first)),
            read(2, 2, len(second)),
            payload=(*_frames(first), second),
        )
        executor.expect_bytes(client.answer(1), first)
        executor.expect_bytes(client.answer(2), second)


@CHECKS.case("several_large_reads_in_one_message")
def _several(executor: Executor) -> None:
    data = pattern(3 * FRAME_SIZE)
    with executor.session() as client:
        client.run(allocate(1, len(data)), write_frames(1, len(data), 3), payload=_frames(data))
        # Together more frames than a message has.
        reads = [read(token, 1, len(data) - token, token) for token in range(24)]
        client.run(*reads)
        for token in range(24):
            executor.expect_bytes(client.answer(token), data[token:])


@CHECKS.case("64_mib_are_read")
def _longest(executor: Executor) -> None:
    size = min(READ_SIZE_MAX, executor.welcome.storage_size)
    frame = pattern(FRAME_SIZE)
    with executor.session() as client:
        client.run(allocate(1, size))
        for start in range(0, size // FRAME_SIZE, FRAMES_MAX):
            count = min(FRAMES_MAX, size // FRAME_SIZE - start)
            client.run(
                write_frames(1, count * FRAME_SIZE, count, start * FRAME_SIZE),
                payload=(frame,) * count,
            )
        answer = client.read(1, size)
        expect(client.failures == [], f"{client.failures}")
        executor.expect_bytes(answer, (frame * (size // FRAME_SIZE + 1))[:size])


_WRONG: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "missing": (write_frames(1, 8, 1), ()),
    "one missing": (write_frames(1, 8, 2), (b"12345678",)),
    "too short": (write_frames(1, 8, 1), (b"1234567",)),
    "too long": (write_frames(1, 8, 1), (b"123456789",)),
    "one too many": (write_frames(1, 8, 2), (b"12345678", b"9")),
    "empty": (write_frames(1, 8, 1), (b"",)),
    "none for bytes": (write_frames(1, 8, 0), ()),
    "65 named": (write_frames(1, 8, 65), (b"x",) * 64),
    "2^32 - 1 named": (write_frames(1, 8, 0xFFFF_FFFF), (b"12345678",)),
    "taken by another": (write_frames(1, 8, 1) + write_frames(1, 8, 1), (b"12345678",)),
}


@CHECKS.case("wrong_frames_are_refused", each=_WRONG)
def _wrong(executor: Executor, message: tuple[bytes, tuple[bytes, ...]]) -> None:
    with executor.undisturbed(), executor.session() as client:
        client.run(allocate(1, 8), message[0], payload=message[1])
        expect_refused(client.refusal(), Code.MALFORMED)
