# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of operators, plans and calls."""

import struct

from torch_remote_conformance.protocol import plans
from torch_remote_conformance.protocol.commands import (
    allocate,
    call,
    define_operator,
    define_plan,
    define_schema,
    free,
    read,
    schema_hash,
    seed,
    write,
)
from torch_remote_conformance.protocol.executor import Checks, Executor, computes
from torch_remote_conformance.protocol.plans import fresh, layout, tensor
from torch_remote_conformance.protocol.replies import UNKNOWN_OPERATOR, Failed
from torch_remote_conformance.protocol.samples import (
    ADD,
    SAMPLES,
    A,
    Sample,
    X,
    Y,
    floats,
    ids,
    longs,
    schema,
    vector,
)
from torch_remote_conformance.protocol.wire import Kind, expect

EXAMPLE = Checks("example")
OPERATOR = Checks("operator")
PLAN = Checks("plan")
CALL = Checks("call")

#: The example at the end of the page: x = tensor([1., 2.]); y = x + x; print(y).
EXAMPLE_SESSION = 0x1122334455667788
_EXAMPLE_X = 0x4080_0000_0000_0000
_EXAMPLE_Y = _EXAMPLE_X + 512
EXAMPLE_COMMANDS = b"".join(
    (
        allocate(_EXAMPLE_X, 8),
        write(_EXAMPLE_X, floats(1, 2)),
        define_schema(0, ADD),
        define_plan(0, 0, (vector(2), vector(2), plans.VARYING_INTEGER), (fresh(layout(2)),)),
        call(0, ids(_EXAMPLE_X, _EXAMPLE_X) + longs(1) + ids(_EXAMPLE_Y)),
        read(0, _EXAMPLE_Y, 8),
        free(_EXAMPLE_Y),
    )
)
EXAMPLE_REPLIES = struct.pack("<BIIQ", 2, 0, 0, 8) + floats(2, 4)


@EXAMPLE.case("is_answered_as_on_the_page", applies=computes)
def _example(executor: Executor) -> None:
    with executor.session() as client:
        client.run(EXAMPLE_COMMANDS)
        replies = client.wait_for(Kind.REPLIES)
        expect(replies.body == EXAMPLE_REPLIES, f"{replies.body.hex(' ')}")
        expect((replies.sequence, replies.acknowledged) == (1, 1), f"{replies}")
        expect(client.answer(0) == floats(2, 4), "another answer")


@EXAMPLE.case("costs_one_command_when_it_is_repeated")
def _repeated(executor: Executor) -> None:
    with executor.session() as client:
        client.run(EXAMPLE_COMMANDS)
        for token in range(1, 4):
            client.run(
                call(0, ids(_EXAMPLE_X, _EXAMPLE_X) + longs(token) + ids(_EXAMPLE_Y)),
                read(token, _EXAMPLE_Y, 8),
                free(_EXAMPLE_Y),
            )
            executor.expect_bytes(client.answer(token), floats(1 + token, 2 + 2 * token))
        expect(client.failures == [], f"{client.failures}")


# --- Operators -----------------------------------------------------------------------------------

#: Arguments of a call of add on X and X into A.
_ADD_TWO = (vector(2), vector(2), plans.integer(1))
_ADDED = ids(X, X, A)

_MISSING: dict[str, bytes] = {
    "unknown name": define_operator(0, 5, "aten::torch_remote_has_no_such_operator"),
    "unknown overload": define_operator(0, schema_hash(ADD), "aten::add", "Nothing"),
    "unknown namespace": define_operator(0, 5, "torch_remote_conformance::nothing", "at_all"),
    "name without a namespace": define_operator(0, 5, "add", "Tensor"),
    "other schema": define_operator(0, schema_hash(ADD + " "), "aten::add", "Tensor"),
}


@OPERATOR.case("missing_ones_fail_their_calls", each=_MISSING, applies=computes)
def _missing(executor: Executor, definition: bytes) -> None:
    with executor.session() as client:
        client.run(allocate(X, 8), write(X, floats(1, 2)), definition)
        client.run(define_plan(0, 0, _ADD_TWO, (fresh(layout(2)),)))
        client.synchronize()
        expect(client.failures == [], "failed before it was called")
        for count in (1, 2):  # every call
            client.run(call(0, _ADDED), read(count, A, 8), free(A))
            failed = client.answer(count)
            assert isinstance(failed, Failed), failed
            expect(failed.error_kind == UNKNOWN_OPERATOR, f"{failed}")
            expect(client.failures[count - 1 :] == [failed], f"{client.failures} {failed}")
            expect(failed.operation == count, f"{failed}")
        executor.expect_bytes(client.read(X, 8), floats(1, 2))


@OPERATOR.case("numbers_are_used_again")
def _again(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(X, 8), write(X, floats(1, 2)))
        last = executor.welcome.operator_count - 1
        for number in (0, 1, last):
            for name, expected in (("add.Tensor", (2, 4)), ("sub.Tensor", (0, 0))):
                client.run(
                    define_schema(number, schema(name)),
                    define_plan(number % 2, number, _ADD_TWO, (fresh(layout(2)),)),
                    call(number % 2, _ADDED),
                )
                executor.expect_bytes(client.read(A, 8), floats(*expected))
                client.run(free(A))
        expect(client.failures == [], f"{client.failures}")


@OPERATOR.case("defined_again_after_a_failure", applies=computes)
def _defined_again(executor: Executor) -> None:
    plan = define_plan(0, 0, _ADD_TWO, (fresh(layout(2)),))
    with executor.session() as client:
        client.run(_MISSING["other schema"], plan, define_schema(0, ADD), plan)
        client.run(allocate(X, 8), write(X, floats(1, 2)), call(0, _ADDED))
        executor.expect_bytes(client.read(A, 8), floats(2, 4))


# --- Plans ---------------------------------------------------------------------------------------


@PLAN.case("may_be_replaced")
def _replaced(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(X, 8), write(X, floats(1, 2)), define_schema(0, ADD))
        last = executor.welcome.plan_count - 1
        for number in (0, 1, last, 0):
            for alpha in (1, 5):
                arguments = (vector(2), vector(2), plans.integer(alpha))
                client.run(define_plan(number, 0, arguments, (fresh(layout(2)),)))
                client.run(call(number, _ADDED))
                executor.expect_bytes(client.read(A, 8), floats(1 + alpha, 2 + 2 * alpha))
                client.run(free(A))
        expect(client.failures == [], f"{client.failures}")


@PLAN.case("one_that_cant_be_run_fails_its_calls", applies=computes)
def _unfit(executor: Executor) -> None:
    with executor.session() as client:
        client.run(allocate(X, 8), define_schema(0, ADD))
        client.run(define_plan(0, 0, (vector(2),), (fresh(layout(2)),)))  # arguments are missing
        client.synchronize()
        expect(client.failures == [], "failed before it was called")
        client.run(call(0, ids(X, A)))
        expect(isinstance(client.read(A, 8), Failed), "it was run")
        expect(len(client.failures) == 1, f"{client.failures}")


# --- Calls ---------------------------------------------------------------------------------------


@CALL.case("arguments_and_outputs_of_every_kind", each=SAMPLES)
def _sample(executor: Executor, sample: Sample) -> None:
    with executor.session() as client:
        client.run(*sample.commands())
        for storage, expected in sample.expected.items():
            executor.expect_bytes(client.read(storage, len(expected)), expected)
        expect(client.failures == [], f"{client.failures}")


@CALL.case("generators_draw_from_their_seeds")
def _generators(executor: Executor) -> None:
    drawn: dict[tuple[int, int], object] = {}
    arguments = (vector(4, writes=True), plans.double(0.0), plans.double(1.0))
    with executor.session() as client:
        client.run(allocate(X, 16), write(X, bytes(16)), define_schema(0, schema("uniform_")))
        client.run(define_plan(0, 0, (*arguments, plans.GENERATOR), (plans.ARGUMENT,)))
        client.run(define_plan(1, 0, (*arguments, plans.NONE), (plans.ARGUMENT,)))
        for generator, number in ((0, 1), (0, 2), (5, 1), (5, 2)):
            client.run(seed(generator, number), call(0, ids(X, generator)))
            drawn[generator, number] = client.read(X, 16)
        client.run(seed(0, 1), call(1, ids(X)))  # none is number 0
        default = client.read(X, 16)
        expect(client.failures == [], f"{client.failures}")
    if executor.computes:
        expect(default == drawn[0, 1] == drawn[5, 1], "one seed, two results")
        expect(drawn[0, 2] == drawn[5, 2] != drawn[0, 1], "other seeds, equal results")


@CALL.case("written_storages_are_seen_by_later_calls")
def _written(executor: Executor) -> None:
    arguments = (vector(2, writes=True), vector(2), plans.integer(1))
    with executor.session() as client:
        client.run(allocate(X, 8), write(X, floats(1, 2)), allocate(Y, 8), write(Y, floats(1, 1)))
        client.run(define_schema(0, schema("add_.Tensor")))
        client.run(define_plan(0, 0, arguments, (plans.ARGUMENT,)))
        client.run(*[call(0, ids(X, Y))] * 100)
        executor.expect_bytes(client.read(X, 8), floats(101, 102))
        expect(client.failures == [], f"{client.failures}")


_UNLIKE = {
    "other dtype": fresh(layout(2, dtype=plans.FLOAT64)),
    "other sizes": fresh(layout(3)),
    "other number of dimensions": fresh(layout(1, 2)),
}


@CALL.case("result_that_is_not_as_planned_fails", each=_UNLIKE, applies=computes)
def _unlike(executor: Executor, output: bytes) -> None:
    with executor.session() as client:
        client.run(allocate(X, 8), write(X, floats(1, 2)), define_schema(0, ADD))
        client.run(define_plan(0, 0, _ADD_TWO, (output,)), call(0, _ADDED))
        client.synchronize()
        expect(len(client.failures) == 1, f"{client.failures}")
        expect(client.failures[0].operator == "aten::add.Tensor", f"{client.failures}")
        expect(isinstance(client.read(A, 8), Failed), "there is a result")


_UNFIT: dict[str, tuple[tuple[bytes, ...], bytes]] = {
    "unknown storage": (_ADD_TWO, ids(X, 99)),
    "beyond its storage": ((vector(3), vector(3), plans.integer(1)), ids(X, X)),
    "offset beyond its storage": (
        (tensor(layout(2), offset_size=4), vector(2), plans.integer(1)),
        struct.pack("<QIQ", X, 1, X),
    ),
    "offset of 2^63": (
        (tensor(layout(2), offset_size=8), vector(2), plans.integer(1)),
        struct.pack("<QQQ", X, 1 << 63, X),
    ),
    "strides beyond its storage": (
        (tensor(layout(2, strides=(2,))), vector(2), plans.integer(1)),
        ids(X, X),
    ),
}


@CALL.case("tensor_that_does_not_fit_its_storage_fails", each=_UNFIT, applies=computes)
def _does_not_fit(executor: Executor, used: tuple[tuple[bytes, ...], bytes]) -> None:
    arguments, values = used
    sizes = 3 if arguments[0] == vector(3) else 2
    with executor.session() as client:
        client.run(allocate(X, 8), write(X, floats(1, 2)), define_schema(0, ADD))
        client.run(define_plan(0, 0, arguments, (fresh(layout(sizes)),)))
        client.run(call(0, values + ids(A)))
        expect(isinstance(client.read(A, 8), Failed), "there is a result")
        expect(len(client.failures) == 1, f"{client.failures}")
        executor.expect_bytes(client.read(X, 8), floats(1, 2))
