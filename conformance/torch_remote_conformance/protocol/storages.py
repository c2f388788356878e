# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of storages: what is written is read, in commands and in payload frames."""

import random

from torch_remote_conformance.protocol.client import Client
from torch_remote_conformance.protocol.commands import (
    allocate,
    free,
    read,
    rename,
    resize,
    write,
    write_frames,
)
from torch_remote_conformance.protocol.executor import (
    Checks,
    Executor,
    computes,
    expect_refused,
)
from torch_remote_conformance.protocol.replies import Failed
from torch_remote_conformance.protocol.wire import (
    FRAME_SIZE,
    FRAMES_MAX,
    READ_SIZE_MAX,
    Code,
    expect,
)

STORAGE = Checks("storage")
PAYLOAD = Checks("payload")

#: Executors treat ids as opaque keys.
_IDS = (1, 2, 3, 0x4080_0000_0000_0000, 1 << 63, (1 << 64) - 1)


def _pattern(size: int) -> bytes:
    """Bytes without a short period, the same every time."""
    return random.Random(size).randbytes(size)


@STORAGE.case("written_bytes_are_read")
def _written(executor: Executor) -> None:
    with executor.session() as client:
        for size in (1, 2, 3, 4, 5, 255, 4096, 16_383, 16_384, 16_385, 300_001):
            data = _pattern(size)
            client.run(allocate(1, size), write(1, data))
            executor.expect_bytes(client.read(1, size), data)
            client.run(free(1))
        expect(client.failures == [], f"{client.failures}")


@STORAGE.case("ranges_are_bytes")
def _ranges(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 10), write(1, b"0123456789"), write(1, b"abc", 4), write(1, b"z", 9))
        content = b"0123abc78z"
        for offset, size in ((0, 10), (4, 3), (3, 5), (9, 1), (0, 1)):
            executor.expect_bytes(client.read(1, size, offset), content[offset : offset + size])


@STORAGE.case("ids_are_opaque")
def _ids(executor: Executor) -> None:
    with executor.session() as client:
        for number, storage in enumerate(_IDS):
            client.run(allocate(storage, 1), write(storage, bytes([number])))
        for number, storage in enumerate(_IDS):
            executor.expect_bytes(client.read(storage, 1), bytes([number]))


@STORAGE.case("no_bytes_are_allowed")
def _empty(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 0), write(1, b""), write_frames(1, 0, 0), resize(1, 2, 0))
        expect(client.read(2, 0) == b"", "something was read")
        client.run(resize(2, 3, 4), write(3, b"four"), write(3, b"", 4), free())
        executor.expect_bytes(client.read(3, 4), b"four")
        expect(client.read(3, 0, 4) == b"", "something was read behind the end")
        expect(client.failures == [], f"{client.failures}")


@STORAGE.case("ids_are_used_again_after_free")
def _again(executor: Executor) -> None:
    with executor.session() as client:
        for number in range(20):
            client.run(allocate(1, 4 + number), write(1, b"%4d" % number), free(1))
        client.run(allocate(1, 4), write(1, b"last"))
        executor.expect_bytes(client.read(1, 4), b"last")
        expect(client.failures == [], f"{client.failures}")


@STORAGE.case("free_takes_many_and_unknown_ids")
def _free(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 1), allocate(2, 1), free(1, 99, 2, 1), free(*range(100, 1100)))
        client.run(allocate(1, 1), allocate(2, 1))
        client.synchronize()
        expect(client.failures == [], f"{client.failures}")


@STORAGE.case("resize_keeps_what_both_sizes_have")
def _resize(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 4), write(1, b"1234"), resize(1, 2, 8))
        executor.expect_bytes(client.read(2, 4), b"1234")
        client.run(write(2, b"5678", 4), resize(2, 3, 6))
        executor.expect_bytes(client.read(3, 6), b"123456")
        client.run(resize(3, 4, 0), resize(4, 5, 2), write(5, b"ab"))
        executor.expect_bytes(client.read(5, 2), b"ab")
        expect(client.failures == [], f"{client.failures}")


@STORAGE.case("rename_moves")
def _rename(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 1), write(1, b"a"), rename(1, 2), allocate(1, 1), write(1, b"b"))
        executor.expect_bytes(client.read(2, 1), b"a")
        executor.expect_bytes(client.read(1, 1), b"b")
        client.run(rename(2, 2))  # to its own
        executor.expect_bytes(client.read(2, 1), b"a")
        expect(client.failures == [], f"{client.failures}")


_LIVING = {
    "allocate": allocate(2, 1),
    "allocate of another size": allocate(1, 100),
    "resize": resize(1, 2, 4),
    "resize to its own": resize(1, 1, 4),
    "rename": rename(1, 2),
}


@STORAGE.case("living_id_is_refused", each=_LIVING, applies=computes)
def _living(executor: Executor, command: bytes) -> None:
    with executor.undisturbed(), executor.session() as client:
        client.run(allocate(1, 1), allocate(2, 1), command)
        expect_refused(client.refusal(), Code.MALFORMED)


#: Of storage 1, which has 8 bytes.
_OUTSIDE = {
    "write": write(1, bytes(9)),
    "write at an offset": write(1, bytes(5), 4),
    "write far behind": write(1, b"x", 1 << 40),
    "write frames": write_frames(1, 5, 1, 4),
    "unknown: write": write(9, b"x"),
    "unknown: write frames": write_frames(9, 5, 1),
    "unknown: resize": resize(9, 10, 4),
    "unknown: rename": rename(9, 10),
}


@STORAGE.case("what_is_not_there_fails", each=_OUTSIDE, applies=computes)
def _outside(executor: Executor, command: bytes) -> None:
    with executor.session() as client:
        payload = (
            (b"12345",)
            if command in (_OUTSIDE["write frames"], _OUTSIDE["unknown: write frames"])
            else ()
        )
        client.run(allocate(1, 8), allocate(2, 1), write(2, b"x"), command, payload=payload)
        executor.expect_bytes(client.read(2, 1), b"x")
        expect(len(client.failures) == 1, f"failures {client.failures}")
        expect(client.failures[0].operation == 0, "it was no call")


@STORAGE.case("reads_of_what_is_not_there_fail", applies=computes)
def _outside_reads(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 8), write(1, b"12345678"))
        for token, (storage, size, offset) in enumerate(
            (
                (1, 9, 0),
                (1, 1, 8),
                (1, 5, 4),
                (1, 1, 1 << 47),
                (1, 100_000, 0),
                (9, 1, 0),
                (9, 0, 0),
            )
        ):
            answer = client.read(storage, size, offset, token=token)
            expect(isinstance(answer, Failed), f"{size} bytes at {offset} of {storage}: {answer!r}")
        # A read that fails marks nothing.
        executor.expect_bytes(client.read(1, 8), b"12345678")
        expect(client.failures == [], f"{client.failures}")


# --- Payload -------------------------------------------------------------------------------------


def _frames(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[start : start + FRAME_SIZE] for start in range(0, len(data), FRAME_SIZE))


@PAYLOAD.case("large_writes_and_reads")
def _large(executor: Executor) -> None:
    with executor.session() as client:
        for size in (FRAME_SIZE - 1, FRAME_SIZE, FRAME_SIZE + 1, 2 * FRAME_SIZE + 12_345):
            data = _pattern(size)
            parts = _frames(data)
            client.run(allocate(1, size + 10), write_frames(1, size, len(parts), 10), payload=parts)
            executor.expect_bytes(client.read(1, size, 10), data)
            executor.expect_bytes(client.read(1, 100_000, 500_000), data[499_990:599_990])
            client.run(free(1))
        expect(client.failures == [], f"{client.failures}")


@PAYLOAD.case("commands_take_their_frames_in_order")
def _in_order(executor: Executor) -> None:
    first, second = _pattern(FRAME_SIZE + 5), _pattern(7)
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


@PAYLOAD.case("several_large_reads_in_one_message")
def _several(executor: Executor) -> None:
    data = _pattern(3 * FRAME_SIZE)
    with executor.session() as client:
        client.run(allocate(1, len(data)), write_frames(1, len(data), 3), payload=_frames(data))
        # Together more frames than a message has.
        reads = [read(token, 1, len(data) - token, token) for token in range(24)]
        client.run(*reads)
        for token in range(24):
            executor.expect_bytes(client.answer(token), data[token:])


@PAYLOAD.case("64_mib_are_read")
def _longest(executor: Executor) -> None:
    size = min(READ_SIZE_MAX, executor.welcome.storage_size)
    frame = _pattern(FRAME_SIZE)
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


@PAYLOAD.case("wrong_frames_are_refused", each=_WRONG)
def _wrong(executor: Executor, message: tuple[bytes, tuple[bytes, ...]]) -> None:
    with executor.undisturbed(), executor.session() as client:
        client.run(allocate(1, 8), message[0], payload=message[1])
        expect_refused(client.refusal(), Code.MALFORMED)


# --- Any program ---------------------------------------------------------------------------------


class Model:
    """A program of any commands, and what storages hold after it; None where the page leaves a byte undefined."""

    def __init__(self, chosen: random.Random) -> None:
        self._random = chosen
        self._storages: dict[int, list[int | None]] = {}
        self._commands: list[bytes] = []
        self._payload: list[bytes] = []
        self._expected: dict[int, list[int | None]] = {}

    def step(self) -> None:
        """One command more."""
        unused = [number for number in _IDS if number not in self._storages]
        kind = self._random.choice(
            ("allocate", "write", "write frames", "read", "resize", "rename", "free")
        )
        if unused and (kind == "allocate" or not self._storages):
            number, size = self._random.choice(unused), self._random.randrange(200)
            self._storages[number] = [None] * size
            self._commands.append(allocate(number, size))
        elif self._storages:
            self._change(kind, self._random.choice(list(self._storages)), unused)

    def _change(self, kind: str, number: int, unused: list[int]) -> None:
        content = self._storages[number]
        offset = self._random.randint(0, len(content))
        size = self._random.randint(0, len(content) - offset)
        if kind.startswith("write"):
            data = self._random.randbytes(size)
            content[offset : offset + size] = data
            if kind == "write" or not data or len(self._payload) == FRAMES_MAX:
                self._commands.append(write(number, data, offset))
            else:
                self._commands.append(write_frames(number, size, 1, offset))
                self._payload.append(data)
        elif kind == "read":
            self._read(number, offset, size)
        elif kind == "free":
            del self._storages[number]
            self._commands.append(free(number))
        elif kind == "rename" and unused:
            new = self._random.choice(unused)
            self._storages[new] = self._storages.pop(number)
            self._commands.append(rename(number, new))
        elif kind == "resize" and unused:
            new, size = self._random.choice(unused), self._random.randrange(200)
            self._storages[new] = (self._storages.pop(number) + [None] * size)[:size]
            self._commands.append(resize(number, new, size))

    def _read(self, number: int, offset: int, size: int) -> None:
        token = len(self._expected)
        self._expected[token] = self._storages[number][offset : offset + size]
        self._commands.append(read(token, number, size, offset))

    def send(self, client: Client) -> None:
        """The commands since the last time, in one message."""
        client.run(*self._commands, payload=tuple(self._payload))
        self._commands, self._payload = [], []

    def finish(self, client: Client) -> None:
        """Reads all that lives, and compares every answer."""
        for number, content in self._storages.items():
            self._read(number, 0, len(content))
        self.send(client)
        client.synchronize()
        expect(client.failures == [], f"{client.failures}")
        for token, content in self._expected.items():
            answer = client.answer(token)
            assert isinstance(answer, bytes), answer
            same = len(answer) == len(content) and all(
                wanted in (None, byte) for byte, wanted in zip(answer, content, strict=True)
            )
            expect(same, f"read {answer.hex()} instead of {content}")


@STORAGE.case(
    "any_program", each={f"program {number}": number for number in range(40)}, applies=computes
)
def _any_program(executor: Executor, number: int) -> None:
    chosen = random.Random(executor.seed * 1000 + number)
    with executor.session() as client:
        model = Model(chosen)
        for _ in range(chosen.randrange(1, 200)):
            model.step()
            if chosen.random() < 0.1:
                model.send(client)
        model.finish(client)
