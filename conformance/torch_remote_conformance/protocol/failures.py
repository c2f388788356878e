# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of operations that fail, and of what depends on them (docs/PROTOCOL.md, *Failures of operations*).

What fails here is a call that describes: the null executor can't describe, and all others lack the operator.
So these cases hold on every executor.
"""

from torch_remote_conformance.protocol import plans
from torch_remote_conformance.protocol.client import Client
from torch_remote_conformance.protocol.commands import (
    allocate,
    call,
    call_and_describe,
    define_operator,
    define_plan,
    define_schema,
    free,
    record_stream,
    rename,
    resize,
    write,
    write_frames,
)
from torch_remote_conformance.protocol.executor import Checks, Executor, computes
from torch_remote_conformance.protocol.plans import fresh, layout
from torch_remote_conformance.protocol.replies import Failed
from torch_remote_conformance.protocol.samples import ADD, A, B, X, Y, Z, ids, schema, vector
from torch_remote_conformance.protocol.wire import expect

CHECKS = Checks("failure")

#: Numbers of the operator and the plan that fail; they write their one argument.
_FAULT = 9
_ADD, _ADD_IN_PLACE = 0, 1
_BYTE = vector(1, dtype=plans.UINT8)


def _prepare(client: Client) -> None:
    """Storages X, Y and Z of one byte each, and what the cases call."""
    written = vector(1, dtype=plans.UINT8, writes=True)
    client.run(
        *(allocate(storage, 1) + write(storage, bytes([storage])) for storage in (X, Y, Z)),
        define_operator(_FAULT, 5, "torch_remote_conformance::nothing", "at_all"),
        define_plan(_FAULT, _FAULT, (written,), describes=True),
        define_schema(_ADD, ADD),
        define_plan(
            _ADD, _ADD, (_BYTE, _BYTE, plans.integer(1)), (fresh(layout(1, dtype=plans.UINT8)),)
        ),
        define_schema(_ADD_IN_PLACE, schema("add_.Tensor")),
        define_plan(
            _ADD_IN_PLACE, _ADD_IN_PLACE, (written, _BYTE, plans.integer(1)), (plans.ARGUMENT,)
        ),
    )


def _spoil(client: Client, storage: int) -> Failed:
    """A call that writes the storage, and fails."""
    client.run(call_and_describe(_FAULT, 1, 10_000, ids(storage)))
    failed = client.answer(1)
    assert isinstance(failed, Failed), failed
    return failed


def _expect_failed(client: Client, storage: int, failed: Failed) -> None:
    answer = client.read(storage, 1)
    expect(answer == failed, f"storage {storage} answers {answer!r} instead of {failed}")


def _expect_quiet(client: Client) -> None:
    client.synchronize()
    expect(client.failures == [], f"failures that nothing should tell: {client.failures}")


@CHECKS.case("says_what_failed_and_where")
def _what(executor: Executor) -> None:
    with executor.session() as client:
        _prepare(client)
        client.run(call(_ADD, ids(X, Y, A)))
        failed = _spoil(client, X)
        expect(failed.operator == "torch_remote_conformance::nothing.at_all", f"{failed}")
        expect(failed.operation == 2, f"{failed}")
        expect(bool(failed.message), f"{failed}")


@CHECKS.case("reads_are_answered_by_it")
def _reads(executor: Executor) -> None:
    with executor.session() as client:
        _prepare(client)
        failed = _spoil(client, X)
        for _ in range(3):
            _expect_failed(client, X, failed)
        _expect_quiet(client)


@CHECKS.case("independent_operations_go_on")
def _independent(executor: Executor) -> None:
    with executor.session() as client:
        _prepare(client)
        _spoil(client, X)
        client.run(call(_ADD, ids(Y, Z, A)))
        executor.expect_bytes(client.read(A, 1), bytes([Y + Z]))
        executor.expect_bytes(client.read(Y, 1), bytes([Y]))
        _expect_quiet(client)


@CHECKS.case("results_of_what_failed_fail")
def _results(executor: Executor) -> None:
    with executor.session() as client:
        _prepare(client)
        failed = _spoil(client, X)
        client.run(call(_ADD, ids(Y, X, A)), call(_ADD, ids(A, A, B)))
        _expect_failed(client, A, failed)
        _expect_failed(client, B, failed)
        executor.expect_bytes(client.read(Y, 1), bytes([Y]))
        _expect_quiet(client)


@CHECKS.case("what_would_be_written_fails")
def _written(executor: Executor) -> None:
    with executor.session() as client:
        _prepare(client)
        failed = _spoil(client, X)
        client.run(call(_ADD_IN_PLACE, ids(Y, X)))
        _expect_failed(client, Y, failed)
        _expect_quiet(client)


@CHECKS.case("writes_do_not_mend_it")
def _writes(executor: Executor) -> None:
    with executor.session() as client:
        _prepare(client)
        failed = _spoil(client, X)
        client.run(
            write(X, b"x"),
            write_frames(X, 1, 1),
            write_frames(Y, 1, 1),  # takes the frame that is its own
            call(_ADD_IN_PLACE, ids(X, Y)),
            record_stream(1, X),
            payload=(b"1", b"2"),
        )
        _expect_failed(client, X, failed)
        executor.expect_bytes(client.read(Y, 1), b"2")
        _expect_quiet(client)


@CHECKS.case("first_one_wins")
def _first(executor: Executor) -> None:
    with executor.session() as client:
        _prepare(client)
        first = _spoil(client, X)
        again = _spoil(client, X)
        expect(again == first, f"{again} instead of {first}")
        _expect_failed(client, X, first)
        other = _spoil(client, Y)
        expect(other.operation == 3, f"{other} is no failure of its own")
        _expect_failed(client, X, first)
        _expect_quiet(client)


@CHECKS.case("resize_and_rename_pass_it_on")
def _passed_on(executor: Executor) -> None:
    with executor.session() as client:
        _prepare(client)
        failed = _spoil(client, X)
        client.run(resize(X, 20, 5), rename(20, 21))
        _expect_failed(client, 21, failed)
        client.run(*(allocate(storage, 1) + write(storage, b"n") for storage in (X, 20)))
        for storage in (X, 20):  # the old ids are free
            executor.expect_bytes(client.read(storage, 1), b"n")
        _expect_quiet(client)


@CHECKS.case("free_removes_it")
def _freed(executor: Executor) -> None:
    with executor.session() as client:
        _prepare(client)
        _spoil(client, X)
        client.run(call(_ADD, ids(X, Y, A)), free(X, A))
        for storage in (X, A):
            client.run(allocate(storage, 1), write(storage, b"n"))
            executor.expect_bytes(client.read(storage, 1), b"n")
        _expect_quiet(client)


@CHECKS.case("allocate_does_not_remove_it")
def _allocated(executor: Executor) -> None:
    with executor.session() as client:
        _prepare(client)
        failed = _spoil(client, 20)
        client.run(allocate(20, 1), write(20, b"n"))
        _expect_failed(client, 20, failed)
        client.run(free(20), allocate(20, 1), write(20, b"n"))
        executor.expect_bytes(client.read(20, 1), b"n")
        _expect_quiet(client)


@CHECKS.case("synchronize_is_answered_as_usual")
def _synchronize(executor: Executor) -> None:
    with executor.session() as client:
        _prepare(client)
        _spoil(client, X)
        for _ in range(3):
            client.synchronize()
        _expect_quiet(client)


@CHECKS.case("other_sessions_know_nothing_of_it")
def _other_sessions(executor: Executor) -> None:
    with executor.session() as client, executor.session() as other:
        for one in (client, other):
            _prepare(one)
        _spoil(client, X)
        executor.expect_bytes(other.read(X, 1), bytes([X]))
        _expect_quiet(other)


@CHECKS.case("calls_are_told_once", applies=computes)
def _told_once(executor: Executor) -> None:
    with executor.session() as client:
        _prepare(client)
        client.run(
            call(_ADD, ids(X, 99, A)), call(_ADD, ids(A, Y, B)), call(_ADD, ids(99, Y, Z + 90))
        )
        client.synchronize()
        operations = [failed.operation for failed in client.failures]
        expect(operations == [1, 3], f"{client.failures}")
        names = {failed.operator for failed in client.failures}
        expect(names == {"aten::add.Tensor"}, f"{names}")
        _expect_failed(client, B, client.failures[0])


_COMMANDS = {
    "write": (write(X, b"xx"), "write", X),
    "resize": (resize(90, 91, 4), "resize", 91),
    "rename": (rename(90, 91), "rename", 91),
}


@CHECKS.case("commands_that_fail_mark_their_id", each=_COMMANDS, applies=computes)
def _commands(executor: Executor, used: tuple[bytes, str, int]) -> None:
    command, name, storage = used
    with executor.session() as client:
        _prepare(client)
        client.run(command, call(_ADD, ids(storage, Y, A)))
        client.synchronize()
        [failed] = client.failures
        expect((failed.operator, failed.operation) == (name, 0), f"{failed}")
        _expect_failed(client, storage, failed)
        _expect_failed(client, A, failed)


@CHECKS.case(
    "storages_beyond_the_announced_size_fail",
    applies=lambda executor: executor.welcome.storage_size < 1 << 48,
)
def _too_large(executor: Executor) -> None:
    size = executor.welcome.storage_size + 1
    with executor.session() as client:
        _prepare(client)
        client.run(allocate(20, size), resize(X, 21, size))
        client.synchronize()
        operators = [failed.operator for failed in client.failures]
        expect(operators == ["allocate", "resize"], f"{client.failures}")
        for storage, failed in zip((20, 21), client.failures, strict=True):
            _expect_failed(client, storage, failed)
        if executor.computes:
            expect(isinstance(client.read(X, 1), Failed), "the storage is there under its old id")
