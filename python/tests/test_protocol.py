# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""docs/PROTOCOL.md is enough to write a client from: the conformance suite's client is the one.

Its level L0 has the cases of the protocol, one by one (conformance/torch_remote_conformance/protocol); here are the
page itself, and messages of any kind that hypothesis makes up.
"""

import random
import re
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import PACKAGES, Executor, executor
from torch_remote_conformance.protocol.calls import (
    EXAMPLE_COMMANDS,
    EXAMPLE_REPLIES,
    EXAMPLE_SESSION,
)
from torch_remote_conformance.protocol.client import Client
from torch_remote_conformance.protocol.commands import Command, allocate, write
from torch_remote_conformance.protocol.malformed import VALID
from torch_remote_conformance.protocol.programs import Model
from torch_remote_conformance.protocol.wire import (
    Code,
    HelloKey,
    Kind,
    RefusedError,
    envelope,
    hello,
    hello_field,
    welcome,
)

PAGE = PACKAGES.parent / "docs" / "PROTOCOL.md"


@pytest.fixture(scope="module")
def serving() -> Iterator[Executor]:
    with executor("--threads", "1") as running:
        yield running


@pytest.fixture(scope="module")
def bystander(serving: Executor) -> Iterator[Callable[[], None]]:
    """Another session of the same executor, and how it looks whether it still works."""
    with Client(serving.endpoint) as other:
        other.open()
        other.run(allocate(7, 5), write(7, b"still"))

        def works() -> None:
            assert other.read(7, 5) == b"still"

        yield works


def dump(name: str) -> bytes:
    """The bytes of a dump on the page, as it is printed there."""
    found = re.search(rf"```hexdump {name}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return bytes.fromhex(" ".join(line.split("#")[0] for line in found[1].splitlines()))


# ---- the page ----


def test_the_client_makes_the_bytes_of_the_page() -> None:
    assert envelope(Kind.HELLO, EXAMPLE_SESSION) == dump("example_hello_envelope")
    fields = (
        hello_field(HelloKey.CLIENT_VERSION, b"0.1.0"),
        hello_field(HelloKey.TORCH_VERSION, b"2.13.0"),
        hello_field(HelloKey.THREAD_COUNT, 4),
    )
    assert hello(fields=b"".join(fields)) == dump("hello")
    assert dump("example_commands") == EXAMPLE_COMMANDS
    assert dump("example_replies") == EXAMPLE_REPLIES


def test_the_client_reads_the_bytes_of_the_page() -> None:
    told = welcome(dump("welcome"))
    assert (told.plan_count, told.operator_count, told.calls_in_flight) == (100, 50, 1000)
    assert (told.storage_size, told.bytes_in_flight) == (1 << 30, 1 << 20)
    assert told.epoch == 0x0102030405060708
    assert told.description == {"device": "cpu", "emulates": "", "executor": "libtorch"}


def test_the_example_is_answered_as_on_the_page(serving: Executor) -> None:
    with Client(serving.endpoint, session=EXAMPLE_SESSION) as client:
        client.open(dump("hello"))
        client.run(dump("example_commands"))
        assert client.wait_for(Kind.REPLIES).body == dump("example_replies")


# ---- messages that were made up ----


def outcome(serving: Executor, *frames: bytes) -> RefusedError | None:
    """What one message of commands does to its session: the refusal, or None."""
    with Client(serving.endpoint, trusts_tokens=False) as client:
        client.open()
        client.run(frames[0], payload=frames[1:])
        return client.outcome()


@settings(max_examples=200)
@given(
    kind=st.sampled_from(sorted(VALID)),
    changes=st.lists(st.tuples(st.integers(0, 500), st.integers(1, 255)), max_size=4),
    rest=st.binary(max_size=8),
    frames=st.lists(st.binary(max_size=8), max_size=2),
)
def test_changed_bytes_are_refused_or_harmless(
    serving: Executor,
    bystander: Callable[[], None],
    kind: Command,
    changes: list[tuple[int, int]],
    rest: bytes,
    frames: list[bytes],
) -> None:
    command = bytearray(VALID[kind].command)
    for position, change in changes:
        command[position % len(command)] ^= change
    refused = outcome(serving, VALID[kind].before + bytes(command) + rest, *frames)
    assert refused is None or (refused.code is Code.MALFORMED and refused.reason)
    bystander()


@given(chosen=st.randoms(use_true_random=False), steps=st.integers(1, 100))
def test_storages_hold_what_was_written(
    serving: Executor, chosen: random.Random, steps: int
) -> None:
    with Client(serving.endpoint) as client:
        client.open()
        model = Model(chosen)
        for _ in range(steps):
            model.step()
        model.finish(client)


# ---- connections ----


@pytest.mark.slow
def test_the_last_word_of_a_connection_that_was_handed_over_is_harmless(serving: Executor) -> None:
    """ZeroMQ's own heartbeats on such a connection, seconds later, once ended the executor."""
    old = Client(serving.endpoint)
    old.open()
    with Client(serving.endpoint, old.session) as new:
        new.resume()
        new.wait_for(Kind.RESUMED)
        old.close()  # its goodbye comes from nobody any more
        for _ in range(12):
            new.synchronize()
            assert serving.process.poll() is None
            time.sleep(1)


def test_storages_beyond_the_limit_that_was_given() -> None:
    with executor("--storage-limit", "4MiB") as limited, Client(limited.endpoint) as client:
        assert client.open().storage_size == 4 << 20
        client.run(allocate(1, (4 << 20) + 1))
        client.synchronize()
        assert [failed.operator for failed in client.failures] == ["allocate"]
