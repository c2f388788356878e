# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of what an executor checks before it takes memory or computes (docs/PROTOCOL.md, *Errors of the protocol*)."""

import struct
from collections.abc import Callable

from torch_remote_conformance.protocol import plans
from torch_remote_conformance.protocol.commands import (
    Command,
    allocate,
    call,
    call_and_describe,
    command,
    define_operator,
    define_plan,
    define_schema,
    empty_cache,
    read,
    resize,
    set_generator_state,
    synchronize,
    use_stream,
    write,
    write_frames,
)
from torch_remote_conformance.protocol.executor import Checks, Executor, expect_refused
from torch_remote_conformance.protocol.plans import fresh, layout, tensor
from torch_remote_conformance.protocol.samples import ADD, A, X, ids, vector
from torch_remote_conformance.protocol.wire import (
    NAME_SIZE_MAX,
    READ_SIZE_MAX,
    STORAGE_SIZE_MAX,
    TEXT_SIZE_MAX,
    Code,
    Welcome,
    expect,
)

CHECKS = Checks("limit")

_ARGUMENTS_MAX = 256
_ELEMENTS_MAX = 1 << 20
_OPERATOR = define_schema(0, ADD)
_ADD = define_plan(0, 0, (vector(2), vector(2), plans.integer(1)), (fresh(layout(2)),))
_DESCRIBES = define_plan(0, 0, (vector(2),), describes=True)
_VALUES = ids(X, X, A)


def _plan(*arguments: bytes, outputs: tuple[bytes, ...] = (plans.ARGUMENT,)) -> bytes:
    """An operator, and a plan of it, which need not fit it."""
    return _OPERATOR + define_plan(0, 0, arguments, outputs)


def _many(kind: int, count: int, element: bytes) -> bytes:
    return struct.pack("<BI", kind, count) + element * count


_TENSOR_LIST, _NUMBER_LIST, _BOOLEAN_LIST = 3, 13, 16

_COMMANDS = {
    "kind 0": command(0, bytes(4)),
    "kind 99": command(99, bytes(4)),
    "kind 255": command(255),
    "length of nothing": struct.pack("<I", Command.SYNCHRONIZE),
    "length beyond the end": struct.pack("<II", Command.SYNCHRONIZE | 9 << 8, 1),
    "length of 64 MiB": struct.pack("<I", Command.SYNCHRONIZE | 0xFFFFFF << 8),
    "half a word": b"\x0f\x02\0\0\1\0\0\0\0",
    "fields missing": command(Command.ALLOCATE, bytes(8)),
    "free of half an id": command(Command.FREE, bytes(8)),
    "write that claims more": command(Command.WRITE, struct.pack("<IQQQ", 0, 1, 0, 1000)),
    "write that claims 2^48 bytes": command(
        Command.WRITE, struct.pack("<IQQQ", 0, 1, 0, STORAGE_SIZE_MAX)
    ),
    "name longer than the command": command(
        Command.DEFINE_OPERATOR, struct.pack("<IQI", 0, 0, 500)
    ),
}

_STORAGES = {
    "allocate": allocate(1, STORAGE_SIZE_MAX + 1),
    "allocate 2^64 - 1": allocate(1, (1 << 64) - 1),
    "resize": allocate(1, 1) + resize(1, 2, STORAGE_SIZE_MAX + 1),
    "read of more than 64 MiB": read(1, 1, READ_SIZE_MAX + 1),
    "read of 2^64 - 1": read(1, 1, (1 << 64) - 1),
    "read offset": allocate(1, 8) + read(1, 1, 1, STORAGE_SIZE_MAX + 1),
    "read offset that overflows": allocate(1, 8) + read(1, 1, 8, (1 << 64) - 4),
    "write offset": allocate(1, 8) + write(1, b"x", STORAGE_SIZE_MAX + 1),
    "write frames": allocate(1, 8) + write_frames(1, STORAGE_SIZE_MAX + 1, 0),
    "write frames offset": allocate(1, 8) + write_frames(1, 0, 0, (1 << 64) - 1),
    "stream": use_stream(65),
    "generator state": set_generator_state(0, bytes(TEXT_SIZE_MAX + 1)),
}

_NAMES = {
    "1025 bytes": define_operator(0, 0, "a" * (NAME_SIZE_MAX + 1)),
    "overload of 1025 bytes": define_operator(0, 0, "aten::add", "a" * (NAME_SIZE_MAX + 1)),
    "space": define_operator(0, 0, "aten::add now"),
    "line end": define_operator(0, 0, "aten::add", "Tensor\n"),
    "zero byte": define_operator(0, 0, "aten::add\0"),
    "not ASCII": define_operator(0, 0, "aten::größe"),
    "no UTF-8": define_operator(0, 0, b"aten::\xff"),
}

_PLANS = {
    "argument kind": _plan(b"\xc8"),
    "output kind": _plan(outputs=(b"\xc8",)),
    "257 arguments": _plan(*[plans.NONE] * (_ARGUMENTS_MAX + 1)),
    "257 outputs": _plan(outputs=(plans.ARGUMENT,) * (_ARGUMENTS_MAX + 1)),
    "arguments that are not there": _OPERATOR
    + command(Command.DEFINE_PLAN, struct.pack("<IIBH", 0, 0, 0, 200)),
    "outputs of a plan that describes": _OPERATOR
    + define_plan(0, 0, (), (plans.ARGUMENT,), describes=True),
    "access": _plan(b"\1\2\0" + layout(1)),
    "offset size": _plan(b"\1\0\3" + layout(1)),
    "offset size of 16": _plan(b"\1\0\x10" + layout(1)),
    "string of more than 64 KiB": _plan(plans.string("a" * (TEXT_SIZE_MAX + 1))),
    "string beyond the end": _plan(struct.pack("<BI", 17, 1000)),
    "host scalar's dtype": _plan(plans.host_scalar(12, wrapped=False)),
}

_LISTS = {
    "tensors in a list of tensors": _plan(plans.tensors(plans.tensors())),
    "numbers in a list of numbers": _plan(plans.numbers(plans.numbers())),
    "numbers in a list of tensors": _plan(plans.tensors(plans.numbers())),
    "integer in a list of tensors": _plan(plans.tensors(plans.integer(1))),
    "tensor in a list of numbers": _plan(plans.numbers(vector(1))),
    "none in a list of numbers": _plan(plans.numbers(plans.NONE)),
    "string in a list of numbers": _plan(plans.numbers(plans.string("a"))),
    "list in a list of outputs": _plan(outputs=(plans.output_list(plans.output_list()),)),
    "argument in a list of outputs": _plan(outputs=(plans.output_list(plans.ARGUMENT),)),
    "2^32 - 1 elements": _plan(b"\3\xff\xff\xff\xff"),
    "2^32 - 1 integers": _plan(b"\x0e\xff\xff\xff\xff"),
    "elements that are not there": _plan(struct.pack("<BI", _NUMBER_LIST, 1000)),
    "2^20 + 1 booleans": _plan(_many(_BOOLEAN_LIST, _ELEMENTS_MAX + 1, b"\1")),
    "2^20 + 1 tensors": _plan(_many(_TENSOR_LIST, _ELEMENTS_MAX + 1, plans.NONE)),
    "2^20 + 1 tensors in two lists": _plan(
        _many(_TENSOR_LIST, _ELEMENTS_MAX // 2, plans.NONE),
        _many(_TENSOR_LIST, _ELEMENTS_MAX // 2 + 1, plans.NONE),
    ),
}


def _output(made: bytes) -> bytes:
    return _plan(outputs=(fresh(made),))


_LAYOUTS = {
    "dtype 12": _output(layout(1, dtype=12)),
    "dtype 46": _output(layout(1, dtype=46)),
    "dtype 255": _output(layout(1, dtype=255)),
    "65 dimensions": _output(layout(*[1] * 65)),
    "255 dimensions": _output(layout(*[1] * 255)),
    "dimensions that are not there": _output(struct.pack("<BBB", 6, 0, 64)),
    "negative size": _output(layout(-1)),
    "smallest size": _output(layout(-(1 << 63))),
    "negative stride": _output(layout(2, strides=(-1,))),
    "negative stride of one element": _output(layout(1, strides=(-1,))),
    "2^63 elements": _output(layout(1 << 32, 1 << 31, strides=(0, 0))),
    "2^66 elements": _output(layout(1 << 22, 1 << 22, 1 << 22, strides=(0, 0, 0))),
    "more than 2^48 bytes": _output(layout((1 << 46) + 1)),
    "last byte behind 2^48": _output(layout(2, strides=(1 << 46,))),
    "distance that overflows": _output(layout(3, strides=((1 << 63) - 1,))),
    "distances that overflow together": _output(
        layout(2, 2, strides=((1 << 63) - 1, (1 << 63) - 1))
    ),
    "tensor argument": _plan(tensor(layout(1 << 46, 2))),
}

_CALLS = {
    "plan that was not defined": call(77),
    "values missing": _OPERATOR + _ADD + call(0),
    "values too short": _OPERATOR + _ADD + call(0, _VALUES[:-4]),
    "values too long": _OPERATOR + _ADD + call(0, _VALUES + bytes(4)),
    "description of a plan that has none": _OPERATOR + _ADD + call_and_describe(0, 1, A, _VALUES),
    "call of a plan that describes": _OPERATOR + _DESCRIBES + call(0, ids(X)),
    "description with other values": _OPERATOR + _DESCRIBES + call_and_describe(0, 1, A, ids(X, X)),
    "plan of an operator that was not defined": define_plan(0, 5),
}

#: Bytes by what the welcome announces.
_NUMBERS: dict[str, Callable[[Welcome], bytes]] = {
    "operator": lambda told: define_schema(told.operator_count, ADD),
    "operator 2^32 - 1": lambda _: define_schema(0xFFFF_FFFF, ADD),
    "plan": lambda told: _OPERATOR + define_plan(told.plan_count, 0),
    "plan 2^32 - 1": lambda _: _OPERATOR + define_plan(0xFFFF_FFFF, 0),
    "plan's operator": lambda told: define_plan(0, told.operator_count),
    "call": lambda told: call(told.plan_count),
    "call of 2^32 - 1": lambda _: call(0xFFFF_FFFF),
    "call and describe": lambda told: call_and_describe(told.plan_count, 1, A),
}


def _expect_refused(executor: Executor, body: bytes) -> None:
    with executor.undisturbed(), executor.session() as client:
        client.run(body)
        expect_refused(client.refusal(), Code.MALFORMED)


for _name, _table in {
    "commands_are_checked": _COMMANDS,
    "sizes_and_offsets_are_checked": _STORAGES,
    "names_are_checked": _NAMES,
    "plans_are_checked": _PLANS,
    "lists_are_checked": _LISTS,
    "layouts_are_checked": _LAYOUTS,
    "calls_are_checked": _CALLS,
}.items():
    CHECKS.case(_name, each=_table)(_expect_refused)


@CHECKS.case("numbers_are_below_what_is_announced", each=_NUMBERS)
def _numbers(executor: Executor, body: Callable[[Welcome], bytes]) -> None:
    _expect_refused(executor, body(executor.welcome))


#: Those at their limit are no errors of the protocol, whether the operation then succeeds or fails.
_AT_THE_LIMIT = {
    "name of 1024 bytes": define_operator(0, 0, "a" * NAME_SIZE_MAX, "b" * NAME_SIZE_MAX),
    "256 arguments": _plan(*[plans.NONE] * _ARGUMENTS_MAX),
    "256 outputs": _plan(outputs=(plans.ARGUMENT,) * _ARGUMENTS_MAX),
    "64 dimensions": _output(layout(*[1] * 64)),
    "2^20 booleans": _plan(_many(_BOOLEAN_LIST, _ELEMENTS_MAX, b"\1")),
    "2^20 tensors": _plan(_many(_TENSOR_LIST, _ELEMENTS_MAX, plans.NONE)),
    "string of 64 KiB": _plan(plans.string("a" * TEXT_SIZE_MAX)),
    "generator state of 64 KiB": set_generator_state(0, bytes(TEXT_SIZE_MAX)),
    "2^62 elements": _output(layout(1 << 31, 1 << 31, strides=(0, 0))),
    "2^48 bytes": _output(layout(1 << 46)),
    "no elements, whatever the strides": _output(layout(0, 5, strides=((1 << 63) - 1, 1 << 62))),
    "storage of 2^48 bytes": allocate(1, STORAGE_SIZE_MAX),
    "offset of 2^48": allocate(1, 8) + write(1, b"", STORAGE_SIZE_MAX),
    "stream 64": use_stream(64),
}


@CHECKS.case("what_is_at_its_limit_is_taken", each=_AT_THE_LIMIT)
def _at_the_limit(executor: Executor, body: bytes) -> None:
    with executor.session() as client:
        client.run(body)
        client.synchronize()


_LONGER = {
    "allocate": allocate(1, 4),
    "synchronize": synchronize(1),
    "empty cache": empty_cache(),
    "write": allocate(2, 4) + write(2, b"four"),
    "define operator": _OPERATOR,
    "define plan": _OPERATOR + _ADD,
}


@CHECKS.case("words_behind_the_fields_are_ignored", each=_LONGER)
def _longer(executor: Executor, body: bytes) -> None:
    last = _last_command(body)
    (head,) = struct.unpack_from("<I", body, last)
    longer = body[:last] + struct.pack("<I", head + (3 << 8)) + body[last + 4 :] + b"\xff" * 12
    with executor.session() as client:
        client.run(allocate(9, 1), write(9, b"9"), longer)
        executor.expect_bytes(client.read(9, 1), b"9")
        expect(client.failures == [], f"{client.failures}")


def _last_command(body: bytes) -> int:
    position = last = 0
    while position < len(body):
        last = position
        position += (struct.unpack_from("<I", body, position)[0] >> 8) * 4
    return last
