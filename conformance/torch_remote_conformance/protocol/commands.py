# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bytes of every command, and of plans (docs/PROTOCOL.md, *Commands*)."""

import enum
import struct
from collections.abc import Iterator


class Command(enum.IntEnum):
    """Kinds of commands."""

    DEFINE_OPERATOR = 1
    DEFINE_PLAN = 2
    CALL = 3
    CALL_AND_DESCRIBE = 4
    ALLOCATE = 5
    FREE = 6
    WRITE = 7
    WRITE_FRAMES = 8
    READ = 9
    RESIZE = 10
    RENAME = 11
    SEED = 12
    GET_GENERATOR_STATE = 13
    SET_GENERATOR_STATE = 14
    SYNCHRONIZE = 15
    USE_STREAM = 16
    RECORD_EVENT = 17
    WAIT_EVENT = 18
    FREE_EVENT = 19
    QUERY_EVENT = 20
    SYNCHRONIZE_EVENT = 21
    ELAPSED_TIME = 22
    RECORD_STREAM = 23
    GET_MEMORY_STATISTICS = 24
    RESET_PEAK_MEMORY = 25
    EMPTY_CACHE = 26


#: Those that are answered, and how many bytes of theirs come before the token.
_TOKEN_OFFSETS = {
    Command.CALL_AND_DESCRIBE: 4,
    Command.READ: 0,
    Command.GET_GENERATOR_STATE: 0,
    Command.SYNCHRONIZE: 0,
    Command.QUERY_EVENT: 0,
    Command.SYNCHRONIZE_EVENT: 0,
    Command.ELAPSED_TIME: 0,
    Command.GET_MEMORY_STATISTICS: 0,
}


def command(kind: int, fields: bytes = b"") -> bytes:
    """A command of any kind: its head, the fields, and padding to a multiple of four bytes."""
    fields += bytes(-len(fields) % 4)
    return struct.pack("<I", kind | (len(fields) // 4 + 1) << 8) + fields


def questions(body: bytes) -> Iterator[tuple[int, Command]]:
    """Token and kind of each command that wants an answer; ends where the bytes are no commands."""
    position = 0
    while position + 4 <= len(body):
        (head,) = struct.unpack_from("<I", body, position)
        kind, end = head & 0xFF, position + (head >> 8) * 4
        if end <= position or end > len(body):
            return
        if kind in _TOKEN_OFFSETS:
            at = position + 4 + _TOKEN_OFFSETS[Command(kind)]
            if at + 4 <= end:
                yield int.from_bytes(body[at : at + 4], "little"), Command(kind)
        position = end


def _string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<I", len(data)) + data


# --- Operators and plans -------------------------------------------------------------------------


def define_operator(
    number: int, schema_hash: int, name: str | bytes, overload: str | bytes = ""
) -> bytes:
    """The number means this operator from now on."""
    fields = struct.pack("<IQ", number, schema_hash) + _string(name) + _string(overload)
    return command(Command.DEFINE_OPERATOR, fields)


def define_schema(number: int, schema: str) -> bytes:
    """The same by the operator's schema, as PyTorch prints it."""
    name, _, overload = schema.partition("(")[0].partition(".")
    return define_operator(number, schema_hash(schema), name, overload)


def schema_hash(schema: str) -> int:
    """FNV-1a in 64 bits."""
    value = 0xCBF29CE484222325
    for byte in schema.encode():
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return value


def define_plan(
    number: int,
    operator: int,
    arguments: tuple[bytes, ...] = (),
    outputs: tuple[bytes, ...] = (),
    *,
    describes: bool = False,
) -> bytes:
    """The number means this call from now on; plans.py makes arguments and outputs."""
    fields = struct.pack("<IIBH", number, operator, describes, len(arguments))
    fields += b"".join(arguments) + struct.pack("<H", len(outputs)) + b"".join(outputs)
    return command(Command.DEFINE_PLAN, fields)


def call(plan: int, values: bytes = b"") -> bytes:
    """Executes a plan."""
    return command(Command.CALL, struct.pack("<I", plan) + values)


def call_and_describe(plan: int, token: int, first_output: int, values: bytes = b"") -> bytes:
    """Executes a plan that describes its outputs."""
    return command(
        Command.CALL_AND_DESCRIBE, struct.pack("<IIQ", plan, token, first_output) + values
    )


# --- Storages ------------------------------------------------------------------------------------


def allocate(storage: int, size: int) -> bytes:
    """A new storage."""
    return command(Command.ALLOCATE, struct.pack("<IQQ", 0, size, storage))


def free(*storages: int) -> bytes:
    """The end of storages."""
    return command(Command.FREE, struct.pack(f"<I{len(storages)}Q", 0, *storages))


def write(storage: int, data: bytes, offset: int = 0) -> bytes:
    """Bytes in the command."""
    return command(Command.WRITE, struct.pack("<IQQQ", 0, storage, offset, len(data)) + data)


def write_frames(storage: int, size: int, frames: int, offset: int = 0) -> bytes:
    """Bytes in payload frames."""
    return command(Command.WRITE_FRAMES, struct.pack("<IQQQ", frames, storage, offset, size))


def read(token: int, storage: int, size: int, offset: int = 0) -> bytes:
    """Asks for bytes."""
    return command(Command.READ, struct.pack("<IQQQ", token, storage, offset, size))


def resize(storage: int, new: int, size: int) -> bytes:
    """Another id and another size."""
    return command(Command.RESIZE, struct.pack("<IQQQ", 0, storage, new, size))


def rename(storage: int, new: int) -> bytes:
    """Another id."""
    return command(Command.RENAME, struct.pack("<IQQ", 0, storage, new))


# --- Generators, streams, events, memory ---------------------------------------------------------


def seed(generator: int, number: int) -> bytes:
    """A generator begins anew."""
    return command(Command.SEED, struct.pack("<IQQ", 0, generator, number))


def get_generator_state(token: int, generator: int) -> bytes:
    """Asks for a state."""
    return command(Command.GET_GENERATOR_STATE, struct.pack("<IQ", token, generator))


def set_generator_state(generator: int, state: bytes) -> bytes:
    """A state that get_generator_state has brought."""
    return command(Command.SET_GENERATOR_STATE, struct.pack("<IQ", 0, generator) + _string(state))


def synchronize(token: int) -> bytes:
    """Asks for a sign when everything before has been computed."""
    return command(Command.SYNCHRONIZE, struct.pack("<I", token))


def use_stream(stream: int) -> bytes:
    """What follows is in this stream's order."""
    return command(Command.USE_STREAM, struct.pack("<I", stream))


def record_event(event: int, *, with_time: bool = False) -> bytes:
    """The event stands for what comes before."""
    return command(Command.RECORD_EVENT, struct.pack("<IQ", int(with_time), event))


def wait_event(event: int) -> bytes:
    """What follows waits for an event."""
    return command(Command.WAIT_EVENT, struct.pack("<IQ", 0, event))


def free_event(event: int) -> bytes:
    """The end of an event."""
    return command(Command.FREE_EVENT, struct.pack("<IQ", 0, event))


def query_event(token: int, event: int) -> bytes:
    """Asks whether an event has come."""
    return command(Command.QUERY_EVENT, struct.pack("<IQ", token, event))


def synchronize_event(token: int, event: int) -> bytes:
    """Asks for a sign when an event has come."""
    return command(Command.SYNCHRONIZE_EVENT, struct.pack("<IQ", token, event))


def elapsed_time(token: int, start: int, end: int) -> bytes:
    """Asks for the milliseconds between two events."""
    return command(Command.ELAPSED_TIME, struct.pack("<IQQ", token, start, end))


def record_stream(stream: int, storage: int) -> bytes:
    """The storage is used by this stream as well."""
    return command(Command.RECORD_STREAM, struct.pack("<IQ", stream, storage))


def get_memory_statistics(token: int) -> bytes:
    """Asks for the allocator's numbers."""
    return command(Command.GET_MEMORY_STATISTICS, struct.pack("<I", token))


def reset_peak_memory() -> bytes:
    """The peaks begin anew."""
    return command(Command.RESET_PEAK_MEMORY)


def empty_cache() -> bytes:
    """Unused memory is given back."""
    return command(Command.EMPTY_CACHE)
