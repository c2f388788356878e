# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of calls whose outputs only the executor can describe."""

from torch_remote_conformance.protocol import plans
from torch_remote_conformance.protocol.commands import (
    allocate,
    call_and_describe,
    define_operator,
    define_plan,
    define_schema,
    rename,
    write,
)
from torch_remote_conformance.protocol.executor import Checks, Executor, computes
from torch_remote_conformance.protocol.replies import (
    UNKNOWN_OPERATOR,
    Described,
    DescribedTensor,
    Failed,
)
from torch_remote_conformance.protocol.samples import A, X, Y, floats, ids, longs, schema, vector
from torch_remote_conformance.protocol.wire import expect

CHECKS = Checks("call_and_describe")


def _described(
    executor: Executor, name: str, arguments: tuple[bytes, ...], values: bytes, *inputs: bytes
) -> tuple[list[Described], list[object]]:
    """Outputs of a call, and the bytes of its tensors in their order."""
    tensors: list[DescribedTensor] = []
    with executor.session() as client:
        for number, data in enumerate(inputs, start=1):
            client.run(allocate(number, len(data)), write(number, data))
        client.run(define_schema(0, schema(name)), define_plan(0, 0, arguments, describes=True))
        client.run(call_and_describe(0, 1, A, values))
        outputs = client.answer(1)
        assert isinstance(outputs, list), outputs
        for output in outputs:
            for one in output if isinstance(output, list) else [output]:
                tensors += [one] if isinstance(one, DescribedTensor) else []
        # As the client does it: the new ids become others.
        client.run(*(rename(A + number, 1000 + number) for number in range(len(tensors))))
        contents: list[object] = [
            client.read(1000 + number, one.storage_size) for number, one in enumerate(tensors)
        ]
        expect(isinstance(client.read(A + len(tensors), 1), Failed), "another output")
        expect(client.failures == [], f"{client.failures}")
    return outputs, contents


@CHECKS.case("shapes_that_depend_on_values", applies=computes)
def _nonzero(executor: Executor) -> None:
    [output], contents = _described(executor, "nonzero", (vector(4),), ids(X), floats(0, 1, 0, 2))
    assert isinstance(output, DescribedTensor), output
    expect((output.dtype, output.sizes) == (plans.INT64, (2, 1)), f"{output}")
    expect(contents == [longs(1, 3)], f"{contents}")


@CHECKS.case("several_outputs", applies=computes)
def _several(executor: Executor) -> None:
    yes = plans.boolean(True)
    outputs, contents = _described(
        executor, "_unique2", (vector(3), yes, yes, yes), ids(X), floats(3, 1, 3)
    )
    dtypes = [output.dtype for output in outputs if isinstance(output, DescribedTensor)]
    expect(dtypes == [plans.FLOAT32, plans.INT64, plans.INT64], f"{outputs}")
    expect(contents == [floats(1, 3), longs(1, 0, 1), longs(1, 2)], f"{contents}")


@CHECKS.case("lists", applies=computes)
def _lists(executor: Executor) -> None:
    arguments = (plans.tensors(vector(2), vector(1)),)
    outputs, contents = _described(
        executor, "_foreach_neg", arguments, ids(X, Y), floats(1, 2), floats(3)
    )
    expect(len(outputs) == 1 and isinstance(outputs[0], list), f"{outputs}")
    expect(contents == [floats(-1, -2), floats(-3)], f"{contents}")


@CHECKS.case("undefined_outputs", applies=computes)
def _undefined(executor: Executor) -> None:
    arguments = (
        *(vector(1, 2), vector(1, 2), plans.integers(2), vector(1, 1), vector(1, 1)),
        *(plans.UNDEFINED, plans.UNDEFINED, plans.booleans(True, False, False)),
    )
    inputs = (floats(1, 1), floats(1, 3), floats(2), floats(1))
    outputs, contents = _described(
        executor, "native_layer_norm_backward", arguments, ids(1, 2, 3, 4), *inputs
    )
    expect(outputs[1:] == [None, None], f"{outputs}")
    expect(contents == [floats(0, 0)], f"{contents}")


_NUMBERS: dict[str, tuple[str, tuple[bytes, ...], bytes, Described]] = {
    "boolean": ("equal", (vector(1), vector(1)), floats(2), True),
    "integer": ("_local_scalar_dense", (vector(1, dtype=plans.INT64),), longs(-5), -5),
    "double": ("_local_scalar_dense", (vector(1),), floats(0.5), 0.5),
    "boolean of a tensor": ("_local_scalar_dense", (vector(1, dtype=plans.BOOL),), b"\1", True),
}


@CHECKS.case("numbers", each=_NUMBERS, applies=computes)
def _numbers(executor: Executor, used: tuple[str, tuple[bytes, ...], bytes, Described]) -> None:
    name, arguments, data, expected = used
    outputs, _ = _described(executor, name, arguments, ids(*[X] * len(arguments)), data)
    expect(outputs == [expected], f"{outputs} instead of {expected}")
    expect(type(outputs[0]) is type(expected), f"{outputs} instead of {expected}")


@CHECKS.case("failure_is_the_answer")
def _failure(executor: Executor) -> None:
    """The null executor can't describe; all others lack the operator."""
    with executor.session() as client:
        client.run(define_operator(0, 5, "torch_remote_conformance::nothing"))
        client.run(define_plan(0, 0, describes=True))
        for count in (1, 2):
            client.run(call_and_describe(0, count, A))
            failed = client.answer(count)
            assert isinstance(failed, Failed), failed
            expect(failed.operation == count, f"{failed}")
            if executor.computes:
                expect(failed.error_kind == UNKNOWN_OPERATOR, f"{failed}")
        expect(client.failures == [], "it was told twice")
