# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bytes of a plan's arguments and outputs (docs/PROTOCOL.md, *Plans*).

A function takes what stands in the definition; what a call adds is made with struct.
"""

import struct

UINT8, INT64, FLOAT32, FLOAT64, COMPLEX64, BOOL = 0, 4, 6, 7, 9, 11
CONJUGATED, NEGATED = 1, 2


def layout(
    *sizes: int, dtype: int = FLOAT32, strides: tuple[int, ...] | None = None, flags: int = 0
) -> bytes:
    """A tensor's dtype, sizes and strides, which are contiguous where none are given."""
    made = contiguous(sizes) if strides is None else strides
    return struct.pack(f"<BBB{len(sizes) + len(made)}q", dtype, flags, len(sizes), *sizes, *made)


def contiguous(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in elements."""
    strides: list[int] = []
    step = 1
    for size in reversed(sizes):
        strides.insert(0, step)
        step *= max(size, 1)
    return tuple(strides)


# --- Arguments -----------------------------------------------------------------------------------

NONE = b"\x00"
UNDEFINED = b"\x02"
VARYING_INTEGER, VARYING_BOOLEAN, VARYING_DOUBLE, VARYING_COMPLEX = (
    b"\x09",
    b"\x0a",
    b"\x0b",
    b"\x0c",
)
GENERATOR = b"\x13"


def tensor(made: bytes, *, writes: bool = False, offset_size: int = 0) -> bytes:
    """Of a layout; the call has its id, and its storage offset in offset_size bytes."""
    return struct.pack("<BBB", 1, writes, offset_size) + made


def tensors(*elements: bytes) -> bytes:
    """A list of them."""
    return struct.pack("<BI", 3, len(elements)) + b"".join(elements)


def host_scalar(dtype: int, *, wrapped: bool) -> bytes:
    """A CPU tensor without dimensions; the call has its value."""
    return struct.pack("<BBB", 4, dtype, wrapped)


def integer(value: int) -> bytes:
    """A number that never varies."""
    return struct.pack("<Bq", 5, value)


def boolean(value: bool) -> bytes:
    """The same of a boolean."""
    return struct.pack("<BB", 6, value)


def double(value: float) -> bytes:
    """The same of a double."""
    return struct.pack("<Bd", 7, value)


def complex_number(value: complex) -> bytes:
    """The same of a complex number."""
    return struct.pack("<Bdd", 8, value.real, value.imag)


def numbers(*elements: bytes) -> bytes:
    """A list of numbers of any kind, fixed and varying."""
    return struct.pack("<BI", 13, len(elements)) + b"".join(elements)


def integers(*values: int) -> bytes:
    """A list of integers."""
    return struct.pack(f"<BI{len(values)}q", 14, len(values), *values)


def doubles(*values: float) -> bytes:
    """A list of doubles."""
    return struct.pack(f"<BI{len(values)}d", 15, len(values), *values)


def booleans(*values: bool) -> bytes:
    """A list of booleans."""
    return struct.pack(f"<BI{len(values)}B", 16, len(values), *values)


def string(text: str | bytes) -> bytes:
    """A text."""
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<BI", 17, len(data)) + data


def device(*, is_cpu: bool = False) -> bytes:
    """The executor's device, or the CPU."""
    return struct.pack("<BB", 18, is_cpu)


# --- Outputs -------------------------------------------------------------------------------------

ARGUMENT = b"\x01"
UNDEFINED_OUTPUT = b"\x02"


def fresh(made: bytes) -> bytes:
    """A new tensor of a layout; the call has its id."""
    return b"\x00" + made


def output_list(*elements: bytes) -> bytes:
    """A list of outputs."""
    return struct.pack("<BI", 3, len(elements)) + b"".join(elements)
