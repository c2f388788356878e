# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Replies, read with every check that docs/PROTOCOL.md allows (*Replies*)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch_remote_conformance.protocol.commands import Command
from torch_remote_conformance.protocol.wire import (
    FRAME_SIZE,
    NAME_SIZE_MAX,
    TEXT_SIZE_MAX,
    Message,
    Reader,
    ViolationError,
    expect,
)

_ERROR_KIND_MAX = 9
#: The error of what the executor lacks.
UNKNOWN_OPERATOR = 7
_DIMENSIONS_MAX = 64


@dataclass(frozen=True)
class Failed:
    """What the executor says of an operation that failed."""

    operation: int
    error_kind: int
    operator: str
    message: str


@dataclass(frozen=True)
class DescribedTensor:
    """A tensor that a call made, which begins at its storage's first byte."""

    dtype: int
    flags: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    storage_size: int


#: Undefined tensors are None; a list is a list.
Described = DescribedTensor | int | bool | float | list["Described"] | None
#: Bytes and states; outputs; what memory statistics count; None of synchronize.
Answer = bytes | list[Described] | dict[str, int] | Failed | None


def replies(message: Message) -> Iterator[tuple[int | None, int, Answer]]:
    """Token (None of a failure that answers nobody), kind, and content of each. Raises ViolationError."""
    reader, payload = Reader(message.body), list(message.payload)
    while reader:
        kind = reader.number(1)
        if kind == 1:
            yield None, kind, _failure(reader)
            continue
        token = reader.number(4)
        expect(kind in _READ, f"a reply of kind {kind}")
        yield token, kind, _READ[kind](reader, payload)
    expect(not payload, f"{len(payload)} payload frames that belong to no reply")


#: The kinds of reply to each command that has a token, beside failed.
ANSWERS = {
    Command.READ: 2,
    Command.CALL_AND_DESCRIBE: 3,
    Command.QUERY_EVENT: 3,
    Command.ELAPSED_TIME: 3,
    Command.GET_GENERATOR_STATE: 4,
    Command.SYNCHRONIZE: 5,
    Command.SYNCHRONIZE_EVENT: 5,
    Command.GET_MEMORY_STATISTICS: 7,
}
FAILED = 6


def _failure(reader: Reader) -> Failed:
    operation, error_kind = reader.number(8), reader.number(1)
    expect(error_kind <= _ERROR_KIND_MAX, f"an error of kind {error_kind}")
    failed = Failed(
        operation, error_kind, reader.string(NAME_SIZE_MAX), reader.string(TEXT_SIZE_MAX)
    )
    expect(bool(failed.operator), f"a failure that does not say of what: {failed}")
    return failed


def _bytes(reader: Reader, payload: list[bytes]) -> bytes:
    frames, size = reader.number(4), reader.number(8)
    if frames == 0:
        return reader.take(size)
    expect(frames <= len(payload), f"{frames} payload frames named, {len(payload)} there")
    parts, payload[:] = payload[:frames], payload[frames:]
    expect(all(len(part) == FRAME_SIZE for part in parts[:-1]), "payload frames of other sizes")
    expect(0 < len(parts[-1]) <= FRAME_SIZE, f"a last payload frame of {len(parts[-1])} bytes")
    data = b"".join(parts)
    expect(len(data) == size, f"{len(data)} bytes in payload frames for {size}")
    return data


def _tensor(reader: Reader) -> DescribedTensor:
    dtype, flags, dimensions = reader.number(1), reader.number(1), reader.number(1)
    expect(dimensions <= _DIMENSIONS_MAX, f"{dimensions} dimensions")
    sizes = tuple(reader.signed() for _ in range(dimensions))
    strides = tuple(reader.signed() for _ in range(dimensions))
    expect(min((*sizes, *strides), default=0) >= 0, f"sizes {sizes}, strides {strides}")
    return DescribedTensor(dtype, flags, sizes, strides, reader.number(8))


#: Of those that are no list.
_DESCRIBED: dict[int, Callable[[Reader], Described]] = {
    0: lambda _: None,
    1: _tensor,
    2: lambda reader: reader.signed(),
    3: lambda reader: bool(reader.number(1)),
    4: lambda reader: reader.double(),
}
_LIST_BEGINS, _LIST_ENDS = 5, 6


def _outputs(reader: Reader, _payload: Sequence[bytes]) -> list[Described]:
    outputs: list[Described] = []
    inner: list[Described] | None = None
    for _ in range(reader.number(4)):
        kind = reader.number(1)
        if kind == _LIST_BEGINS and inner is None:
            outputs.append(inner := [])
        elif kind == _LIST_ENDS and inner is not None:
            inner = None
        elif kind in _DESCRIBED:
            (outputs if inner is None else inner).append(_DESCRIBED[kind](reader))
        else:
            raise ViolationError(f"a described output of kind {kind} where it can't be")
    expect(inner is None, "a described list without an end")
    return outputs


def _numbers(reader: Reader, _payload: Sequence[bytes]) -> dict[str, int]:
    count = reader.number(4)
    numbers = {}
    for _ in range(count):
        name = reader.string(NAME_SIZE_MAX)
        numbers[name] = reader.signed()
    expect(len(numbers) == count, "a number that comes twice")
    return numbers


_READ: dict[int, Callable[[Reader, list[bytes]], Answer]] = {
    2: _bytes,
    3: _outputs,
    4: lambda reader, _: reader.text(TEXT_SIZE_MAX),
    5: lambda *_: None,
    FAILED: lambda reader, _: _failure(reader),
    7: _numbers,
}
