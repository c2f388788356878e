# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls of operators in which each kind of argument and output has its turn, with their results."""

import struct
from dataclasses import dataclass, field

import torch

from torch_remote_conformance.protocol import plans
from torch_remote_conformance.protocol.commands import (
    allocate,
    call,
    define_plan,
    define_schema,
    write,
)
from torch_remote_conformance.protocol.plans import fresh, layout, tensor

#: Storages of the inputs and of the outputs.
X, Y, Z = 1, 2, 3
A, B, C = 11, 12, 13

#: As the page has it.
ADD = "aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor"


def schema(name: str) -> str:
    """Of an operator such as "cat" or "mul_.Tensor", as PyTorch prints it."""
    base, _, overload = name.partition(".")
    return str(getattr(getattr(torch.ops.aten, base), overload or "default")._schema)


def ids(*numbers: int) -> bytes:
    """As they stand in a call's values."""
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def floats(*values: float) -> bytes:
    """The bytes of a float32 tensor."""
    return struct.pack(f"<{len(values)}f", *values)


def longs(*values: int) -> bytes:
    """The bytes of an int64 tensor, or varying integers of a call."""
    return struct.pack(f"<{len(values)}q", *values)


def doubles(*values: float) -> bytes:
    """Varying doubles of a call."""
    return struct.pack(f"<{len(values)}d", *values)


@dataclass(frozen=True)
class Sample:
    """One call."""

    schema: str
    arguments: tuple[bytes, ...]
    outputs: tuple[bytes, ...]
    values: bytes
    inputs: dict[int, bytes]
    #: What storages hold after it.
    expected: dict[int, bytes] = field(default_factory=dict)

    def commands(self) -> list[bytes]:
        """All that it takes, as operator 0 and plan 0."""
        made = [
            command
            for storage, data in self.inputs.items()
            for command in (allocate(storage, len(data)), write(storage, data))
        ]
        return [
            *made,
            define_schema(0, self.schema),
            define_plan(0, 0, self.arguments, self.outputs),
            call(0, self.values),
        ]


def vector(*sizes: int, dtype: int = plans.FLOAT32, writes: bool = False) -> bytes:
    """A contiguous tensor argument that begins where its storage does."""
    return tensor(layout(*sizes, dtype=dtype), writes=writes)


_TWO = layout(2)
_COMPLEX = layout(1, dtype=plans.COMPLEX64)
_FILL = "fill_.Scalar"


def _fill(dtype: int, argument: bytes, value: bytes, size: int, expected: bytes) -> Sample:
    arguments = (vector(1, dtype=dtype, writes=True), argument)
    return Sample(
        schema(_FILL), arguments, (plans.ARGUMENT,), ids(X) + value, {X: bytes(size)}, {X: expected}
    )


def _add(alpha: bytes, value: bytes, expected: bytes) -> Sample:
    inputs = {X: floats(1, 2), Y: floats(10, 20)}
    arguments = (vector(2), vector(2), alpha)
    return Sample(ADD, arguments, (fresh(_TWO),), ids(X, Y) + value + ids(A), inputs, {A: expected})


def _add_complex(alpha: bytes, value: bytes, expected: bytes) -> Sample:
    inputs = {X: floats(1, 2), Y: floats(3, 4)}
    arguments = (tensor(_COMPLEX), tensor(_COMPLEX), alpha)
    return Sample(
        ADD, arguments, (fresh(_COMPLEX),), ids(X, Y) + value + ids(A), inputs, {A: expected}
    )


#: By what is special about them.
SAMPLES: dict[str, Sample] = {
    "tensor": _add(plans.integer(1), b"", floats(11, 22)),
    "tensor with offsets of 4 and 8 bytes": Sample(
        ADD,
        (tensor(_TWO, offset_size=4), tensor(_TWO, offset_size=8), plans.integer(1)),
        (fresh(_TWO),),
        struct.pack("<QIQQQ", X, 1, X, 2, A),
        {X: floats(1, 2, 3, 4)},
        {A: floats(5, 7)},
    ),
    "tensor with strides": Sample(
        ADD,
        (
            tensor(layout(2, 2, strides=(1, 2))),
            tensor(layout(2, 2, strides=(0, 1))),
            plans.integer(1),
        ),
        (fresh(layout(2, 2)),),
        ids(X, Y, A),
        {X: floats(1, 2, 3, 4), Y: floats(10, 20)},
        {A: floats(11, 23, 12, 24)},
    ),
    "tensor without dimensions": Sample(
        ADD,
        (tensor(layout()), tensor(layout()), plans.integer(1)),
        (fresh(layout()),),
        ids(X, X, A),
        {X: floats(3)},
        {A: floats(6)},
    ),
    "tensor without elements": Sample(
        ADD,
        (tensor(layout(0, 3)), tensor(layout(0, 3)), plans.integer(1)),
        (fresh(layout(0, 3)),),
        ids(X, X, A),
        {X: b""},
        {A: b""},
    ),
    "tensor of 64 dimensions": Sample(
        ADD,
        (tensor(layout(*[1] * 63, 2)), tensor(layout(*[1] * 63, 2)), plans.integer(1)),
        (fresh(layout(*[1] * 63, 2)),),
        ids(X, Y, A),
        {X: floats(1, 2), Y: floats(10, 20)},
        {A: floats(11, 22)},
    ),
    "conjugated tensor": Sample(
        ADD,
        (
            tensor(layout(1, dtype=plans.COMPLEX64, flags=plans.CONJUGATED)),
            tensor(_COMPLEX),
            plans.integer(1),
        ),
        (fresh(_COMPLEX),),
        ids(X, Y, A),
        {X: floats(1, 2), Y: floats(10, 20)},
        {A: floats(11, 18)},
    ),
    "negated tensor": Sample(
        ADD,
        (tensor(layout(2, flags=plans.NEGATED)), vector(2), plans.integer(1)),
        (fresh(_TWO),),
        ids(X, Y, A),
        {X: floats(1, 2), Y: floats(10, 20)},
        {A: floats(9, 18)},
    ),
    "written tensor": Sample(
        schema("mul_.Tensor"),
        (tensor(_TWO, writes=True, offset_size=4), vector(2)),
        (plans.ARGUMENT,),
        struct.pack("<QIQ", X, 1, Y),
        {X: floats(1, 2, 3, 4), Y: floats(10, 100)},
        {X: floats(1, 20, 300, 4)},
    ),
    "none": Sample(
        schema("clamp"),
        (vector(3), plans.double(1.5), plans.NONE),
        (fresh(layout(3)),),
        ids(X, A),
        {X: floats(1, 2, 3)},
        {A: floats(1.5, 2, 3)},
    ),
    "undefined tensors and several outputs": Sample(
        schema("native_layer_norm"),
        (vector(1, 2), plans.integers(2), plans.UNDEFINED, plans.UNDEFINED, plans.double(0.0)),
        (fresh(layout(1, 2)), fresh(layout(1, 1)), fresh(layout(1, 1))),
        ids(X, A, B, C),
        {X: floats(1, 3)},
        {A: floats(-1, 1), B: floats(2), C: floats(1)},
    ),
    "list of tensors": Sample(
        schema("cat"),
        (plans.tensors(vector(2), tensor(layout(1), offset_size=8)), plans.integer(0)),
        (fresh(layout(3)),),
        ids(X, Y, 1, A),
        {X: floats(1, 2), Y: floats(3, 4)},
        {A: floats(1, 2, 4)},
    ),
    "list with elements that are absent": Sample(
        schema("index.Tensor"),
        (vector(2, 2), plans.tensors(plans.NONE, vector(1, dtype=plans.INT64))),
        (fresh(layout(2, 1)),),
        ids(X, Y, A),
        {X: floats(1, 2, 3, 4), Y: longs(1)},
        {A: floats(2, 4)},
    ),
    "list with an undefined tensor": Sample(
        schema("index.Tensor"),
        (vector(2, 2), plans.tensors(vector(1, dtype=plans.INT64), plans.UNDEFINED)),
        (fresh(layout(1, 2)),),
        ids(X, Y, A),
        {X: floats(1, 2, 3, 4), Y: longs(1)},
        {A: floats(3, 4)},
    ),
    "list with a host scalar": Sample(
        schema("index.Tensor"),
        (vector(3), plans.tensors(plans.host_scalar(plans.INT64, wrapped=False))),
        (fresh(layout()),),
        ids(X) + longs(2) + ids(A),
        {X: floats(1, 2, 3)},
        {A: floats(3)},
    ),
    "host scalar": Sample(
        ADD,
        (vector(2), plans.host_scalar(plans.FLOAT64, wrapped=True), plans.integer(1)),
        (fresh(_TWO),),
        ids(X) + doubles(2.5) + ids(A),
        {X: floats(1, 2)},
        {A: floats(3.5, 4.5)},
    ),
    "host scalar that promotes": Sample(
        ADD,
        (
            vector(1, dtype=plans.INT64),
            plans.host_scalar(plans.FLOAT32, wrapped=False),
            plans.integer(1),
        ),
        (fresh(layout(1)),),
        ids(X) + floats(0.5) + b"rest" + ids(A),
        {X: longs(2)},
        {A: floats(2.5)},
    ),
    "host scalar of 16 bytes": Sample(
        schema("mul.Tensor"),
        (tensor(_COMPLEX), plans.host_scalar(10, wrapped=True)),
        (fresh(_COMPLEX),),
        ids(X) + doubles(0, 1) + ids(A),
        {X: floats(1, 2)},
        {A: floats(-2, 1)},
    ),
    "integer": _add(plans.integer(3), b"", floats(31, 62)),
    "boolean": Sample(
        schema("sum.dim_IntList"),
        (vector(2), plans.integers(0), plans.boolean(True), plans.NONE),
        (fresh(layout(1)),),
        ids(X, A),
        {X: floats(1, 2)},
        {A: floats(3)},
    ),
    "double": _add(plans.double(0.5), b"", floats(6, 12)),
    "complex": _add_complex(plans.complex_number(2j), b"", floats(-7, 8)),
    "varying integer": _add(plans.VARYING_INTEGER, longs(-1), floats(-9, -18)),
    "varying boolean": _fill(plans.BOOL, plans.VARYING_BOOLEAN, longs(1), 1, b"\1"),
    "varying double": _fill(plans.FLOAT32, plans.VARYING_DOUBLE, doubles(1.5), 4, floats(1.5)),
    "varying complex": _fill(
        plans.COMPLEX64, plans.VARYING_COMPLEX, doubles(1.5, -2), 8, floats(1.5, -2)
    ),
    "list of numbers, and of outputs": Sample(
        schema("_foreach_add.ScalarList"),
        (
            plans.tensors(vector(2), vector(1)),
            plans.numbers(plans.double(0.5), plans.VARYING_DOUBLE),
        ),
        (plans.output_list(fresh(_TWO), fresh(layout(1))),),
        ids(X, Y) + doubles(4) + ids(A, B),
        {X: floats(1, 2), Y: floats(3)},
        {A: floats(1.5, 2.5), B: floats(7)},
    ),
    "list of integers": Sample(
        schema("sum.dim_IntList"),
        (vector(2, 1, 2), plans.integers(0, 2), plans.boolean(False), plans.NONE),
        (fresh(layout(1)),),
        ids(X, A),
        {X: floats(1, 2, 3, 4)},
        {A: floats(10)},
    ),
    "list of doubles": Sample(
        schema("upsample_nearest1d.vec"),
        (vector(1, 1, 2), plans.NONE, plans.doubles(2.0)),
        (fresh(layout(1, 1, 4)),),
        ids(X, A),
        {X: floats(1, 2)},
        {A: floats(1, 1, 2, 2)},
    ),
    "list of booleans, and undefined outputs": Sample(
        schema("native_layer_norm_backward"),
        (
            *(vector(1, 2), vector(1, 2), plans.integers(2), vector(1, 1), vector(1, 1)),
            *(plans.UNDEFINED, plans.UNDEFINED, plans.booleans(True, False, False)),
        ),
        (fresh(layout(1, 2)), plans.UNDEFINED_OUTPUT, plans.UNDEFINED_OUTPUT),
        ids(X, Y, Z, 4, A),
        {X: floats(1, 1), Y: floats(1, 3), Z: floats(2), 4: floats(1)},
        {A: floats(0, 0)},
    ),
    "string": Sample(
        schema("div.Tensor_mode"),
        (vector(2), vector(2), plans.string("floor")),
        (fresh(_TWO),),
        ids(X, Y, A),
        {X: floats(7, -7), Y: floats(2, 2)},
        {A: floats(3, -4)},
    ),
    "device": Sample(
        schema("full"),
        (
            *(plans.integers(3), plans.VARYING_DOUBLE, plans.integer(plans.FLOAT32)),
            *(plans.NONE, plans.device(), plans.NONE),
        ),
        (fresh(layout(3)),),
        doubles(2.5) + ids(A),
        {},
        {A: floats(2.5, 2.5, 2.5)},
    ),
    "output in other strides than the kernel's": Sample(
        ADD,
        (vector(2, 2), vector(2, 2), plans.integer(1)),
        (fresh(layout(2, 2, strides=(1, 2))),),
        ids(X, X, A),
        {X: floats(1, 2, 3, 4)},
        {A: floats(2, 6, 4, 8)},
    ),
}
