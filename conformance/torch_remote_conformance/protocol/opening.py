# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of hello and welcome: versions, fields, limits, devices."""

import struct
from itertools import permutations

from torch_remote_conformance.protocol.executor import Checks, Executor, expect_refused
from torch_remote_conformance.protocol.wire import (
    MAJOR,
    OPENING_SIZE_MAX,
    STORAGE_SIZE_MAX,
    Code,
    HelloKey,
    Kind,
    RefusedError,
    Welcome,
    WelcomeKey,
    expect,
    hello,
    hello_field,
    welcome_fields,
)

HELLO = Checks("hello")
WELCOME = Checks("welcome")

_NUMBERED = "thread_count"


def _welcomed(executor: Executor, body: bytes) -> Welcome:
    """What a session is told that also works."""
    with executor.client() as client:
        told = client.open(body)
        client.synchronize()
    return told


def _refused(executor: Executor, body: bytes) -> RefusedError:
    with executor.client() as client:
        try:
            client.open(body)
        except RefusedError as refused:
            return refused
    raise AssertionError("welcomed")


@HELLO.case("minor_is_the_smaller")
def _minor(executor: Executor) -> None:
    newest = _welcomed(executor, hello(MAJOR, 0xFFFF)).minor
    for minor in {0, newest // 2, newest, min(newest + 1, 0xFFFF)}:
        told = _welcomed(executor, hello(MAJOR, minor)).minor
        expect(told == min(minor, newest), f"minor {told} for {minor}, {newest} being the newest")


@HELLO.case("other_major_is_refused", each={"0": 0, "2": 2, "256": 256, "65535": 0xFFFF})
def _major(executor: Executor, major: int) -> None:
    # What follows the version is nothing that this version could read.
    with executor.undisturbed():
        refused = _refused(executor, hello(major, 3, b"\xff" * 7))
    expect_refused(refused, Code.OTHER_VERSION)
    expect(refused.major == MAJOR, f"the refusal is of major {refused.major}")


_UNKNOWN = {
    "empty": hello_field(999, b""),
    "of any bytes": hello_field(0xFFFF, bytes(range(256))),
    "long": hello_field(40_000, b"later" * 12_000),
    "keys of a welcome": hello_field(WelcomeKey.EPOCH, b"1")
    + hello_field(WelcomeKey.PLAN_COUNT, b""),
}


@HELLO.case("unknown_fields_are_skipped", each=_UNKNOWN)
def _unknown(executor: Executor, unknown: bytes) -> None:
    threads = hello_field(HelloKey.THREAD_COUNT, 1)
    for fields in (unknown, unknown + threads, threads + unknown):
        description = _welcomed(executor, hello(fields=fields)).description
        if fields != unknown:
            expect(description.get(_NUMBERED, "1") == "1", f"{_NUMBERED} of {description}")


@HELLO.case("fields_come_in_any_order")
def _order(executor: Executor) -> None:
    fields = (
        hello_field(HelloKey.CLIENT_VERSION, b"0.1.0"),
        hello_field(HelloKey.THREAD_COUNT, 1),
        hello_field(HelloKey.DEVICE_INDEX, 0),
    )
    expected = executor.welcome.device_count
    for order in permutations(fields):
        told = _welcomed(executor, hello(fields=b"".join(order)))
        expect((told.device_index, told.device_count) == (0, expected), f"{told}")


@HELLO.case("versions_are_any_text")
def _versions(executor: Executor) -> None:
    for text in (b"", "2.13.0+日本".encode(), b"x" * 5000):
        fields = hello_field(HelloKey.CLIENT_VERSION, text)
        _welcomed(executor, hello(fields=fields + hello_field(HelloKey.TORCH_VERSION, text)))


@HELLO.case("64_kib_are_taken")
def _longest(executor: Executor) -> None:
    _welcomed(executor, hello(fields=hello_field(999, bytes(OPENING_SIZE_MAX - 8 - 6))))


_MALFORMED = {
    "empty": b"",
    "other magic": bytes(8),
    "short": hello()[:7],
    "half a field": hello(fields=b"\1\0"),
    "field without its length": hello(fields=b"\1\0\1\0\0"),
    "field beyond the end": hello(fields=struct.pack("<HI", 1, 100)),
    "field of 4 GiB": hello(fields=struct.pack("<HI", 999, 0xFFFF_FFFF)),
    "number of 1 byte": hello(fields=hello_field(HelloKey.THREAD_COUNT, b"\1")),
    "number of 8 bytes": hello(fields=hello_field(HelloKey.DEVICE_INDEX, bytes(8))),
    "number of no bytes": hello(fields=hello_field(HelloKey.DEVICE_INDEX, b"")),
    "more than 64 KiB": hello(fields=hello_field(999, bytes(OPENING_SIZE_MAX - 8 - 6 + 1))),
}


@HELLO.case("malformed_is_refused", each=_MALFORMED)
def _malformed(executor: Executor, body: bytes) -> None:
    with executor.undisturbed():
        expect_refused(_refused(executor, body), Code.MALFORMED)


@HELLO.case("device_index_chooses")
def _device(executor: Executor) -> None:
    count = executor.welcome.device_count
    for index in range(min(count, 4)):
        told = _welcomed(executor, hello(fields=hello_field(HelloKey.DEVICE_INDEX, index)))
        expect((told.device_index, told.device_count) == (index, count), f"{told} for {index}")


@HELLO.case("device_index_without_a_device_is_refused")
def _no_device(executor: Executor) -> None:
    for index in (executor.welcome.device_count, 0xFFFF_FFFF):
        with executor.undisturbed():
            refused = _refused(executor, hello(fields=hello_field(HelloKey.DEVICE_INDEX, index)))
        expect_refused(refused, Code.UNAVAILABLE)


@WELCOME.case("limits_are_announced_and_sane")
def _limits(executor: Executor) -> None:
    told = executor.welcome
    for name in ("plan_count", "operator_count", "bytes_in_flight", "calls_in_flight"):
        expect(getattr(told, name) > 0, f"{name} is 0")
    expect(0 < told.storage_size <= STORAGE_SIZE_MAX, f"storages of {told.storage_size} bytes")
    expect(told.device_count > 0, "no device")


@WELCOME.case("description_says_what_computes")
def _description(executor: Executor) -> None:
    description = executor.welcome.description
    for key in ("executor", "device"):
        expect(bool(description.get(key)), f"{key} is missing in {description}")
    expect("" not in description, f"an entry without a key in {description}")
    if description["executor"] == "libtorch":
        expect("torch_version" in description, f"torch_version is missing in {description}")
    if "emulates" in description:
        expect(bool(description["emulates"]), "emulates nothing")
    for key, text in description.items():
        if key == "thread_count" or (key.startswith("gpu_") and key != "gpu_name"):
            expect(text.isdecimal(), f"{key} is {text!r}")


@WELCOME.case(
    "thread_count_is_the_one_asked_for",
    applies=lambda executor: _NUMBERED in executor.welcome.description,
)
def _threads(executor: Executor) -> None:
    for count in (1, 2):
        fields = hello_field(HelloKey.THREAD_COUNT, count)
        told = _welcomed(executor, hello(fields=fields)).description[_NUMBERED]
        expect(told == str(count), f"{told} threads instead of {count}")


@WELCOME.case("epoch_is_that_of_the_executor")
def _epoch(executor: Executor) -> None:
    with executor.session():
        epochs = {_welcomed(executor, hello()).epoch for _ in range(3)}
    expect(epochs == {executor.welcome.epoch}, f"epochs {epochs} and {executor.welcome.epoch}")


@WELCOME.case("fields_are_whole")
def _fields(executor: Executor) -> None:
    with executor.client() as client:
        client.send_hello()
        body = client.wait_for(Kind.WELCOME).body
        keys = [key for key, _ in welcome_fields(body)]
        known = [key for key in keys if key in WelcomeKey.__members__.values()]
        # A later minor version's fields are not for a client of this one.
        expect(known == keys, f"unknown keys {set(keys) - set(known)} for a client of 1.0")
