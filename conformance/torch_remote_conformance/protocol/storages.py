# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of storages: what is written is read."""

import random

from torch_remote_conformance.protocol.commands import (
    allocate,
    free,
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
from torch_remote_conformance.protocol.programs import IDS, Model, pattern
from torch_remote_conformance.protocol.replies import Failed
from torch_remote_conformance.protocol.wire import (
    Code,
    expect,
)

CHECKS = Checks("storage")


@CHECKS.case("written_bytes_are_read")
def _written(executor: Executor) -> None:
    with executor.session() as client:
        for size in (1, 2, 3, 4, 5, 255, 4096, 16_383, 16_384, 16_385, 300_001):
            data = pattern(size)
            client.run(allocate(1, size), write(1, data))
            executor.expect_bytes(client.read(1, size), data)
            client.run(free(1))
        expect(client.failures == [], f"{client.failures}")


@CHECKS.case("ranges_are_bytes")
def _ranges(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 10), write(1, b"0123456789"), write(1, b"abc", 4), write(1, b"z", 9))
        content = b"0123abc78z"
        for offset, size in ((0, 10), (4, 3), (3, 5), (9, 1), (0, 1)):
            executor.expect_bytes(client.read(1, size, offset), content[offset : offset + size])


@CHECKS.case("ids_are_opaque")
def _ids(executor: Executor) -> None:
    with executor.session() as client:
        for number, storage in enumerate(IDS):
            client.run(allocate(storage, 1), write(storage, bytes([number])))
        for number, storage in enumerate(IDS):
            executor.expect_bytes(client.read(storage, 1), bytes([number]))


@CHECKS.case("no_bytes_are_allowed")
def _empty(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 0), write(1, b""), write_frames(1, 0, 0), resize(1, 2, 0))
        expect(client.read(2, 0) == b"", "something was read")
        client.run(resize(2, 3, 4), write(3, b"four"), write(3, b"", 4), free())
        executor.expect_bytes(client.read(3, 4), b"four")
        expect(client.read(3, 0, 4) == b"", "something was read behind the end")
        expect(client.failures == [], f"{client.failures}")


@CHECKS.case("ids_are_used_again_after_free")
def _again(executor: Executor) -> None:
    with executor.session() as client:
        for number in range(20):
            client.run(allocate(1, 4 + number), write(1, b"%4d" % number), free(1))
        client.run(allocate(1, 4), write(1, b"last"))
        executor.expect_bytes(client.read(1, 4), b"last")
        expect(client.failures == [], f"{client.failures}")


@CHECKS.case("free_takes_many_and_unknown_ids")
def _free(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 1), allocate(2, 1), free(1, 99, 2, 1), free(*range(100, 1100)))
        client.run(allocate(1, 1), allocate(2, 1))
        client.synchronize()
        expect(client.failures == [], f"{client.failures}")


@CHECKS.case("resize_keeps_what_both_sizes_have")
def _resize(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(1, 4), write(1, b"1234"), resize(1, 2, 8))
        executor.expect_bytes(client.read(2, 4), b"1234")
        client.run(write(2, b"5678", 4), resize(2, 3, 6))
        executor.expect_bytes(client.read(3, 6), b"123456")
        client.run(resize(3, 4, 0), resize(4, 5, 2), write(5, b"ab"))
        executor.expect_bytes(client.read(5, 2), b"ab")
        expect(client.failures == [], f"{client.failures}")


@CHECKS.case("rename_moves")
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


@CHECKS.case("living_id_is_refused", each=_LIVING, applies=computes)
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


@CHECKS.case("what_is_not_there_fails", each=_OUTSIDE, applies=computes)
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


@CHECKS.case("reads_of_what_is_not_there_fail", applies=computes)
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


@CHECKS.case(
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
