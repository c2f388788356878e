# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""The executor under test, and how its cases are written."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch_remote_conformance.case import Case, Level, Recorder
from torch_remote_conformance.endpoint import Endpoint
from torch_remote_conformance.protocol import commands
from torch_remote_conformance.protocol.client import Client
from torch_remote_conformance.protocol.wire import Code, RefusedError, Welcome, expect

Check = Callable[..., None]
Applies = Callable[["Executor"], bool]

#: Bytes of a storage that a bystander looks at.
_STILL = b"still"


@dataclass(frozen=True)
class Executor:
    """An executor that serves."""

    endpoint: Endpoint
    #: What it said in the first session.
    welcome: Welcome
    #: Of all random numbers.
    seed: int = 0

    @classmethod
    def at(cls, endpoint: Endpoint) -> "Executor":
        """Asks who is there. Raises ConnectionError where a plain hello is not welcomed."""
        try:
            with Client(endpoint) as client:
                return cls(endpoint, client.open())
        except (RefusedError, TimeoutError, AssertionError) as error:
            raise ConnectionError(
                f"the executor at {endpoint.address} does not welcome a client: {error}"
            ) from error

    @property
    def computes(self) -> bool:
        """False for the null executor."""
        return self.welcome.computes

    def client(self, session: int | None = None, *, trusts_tokens: bool = True) -> Client:
        """A client that has not said hello."""
        return Client(self.endpoint, session, trusts_tokens=trusts_tokens)

    @contextlib.contextmanager
    def session(self, body: bytes | None = None) -> Iterator[Client]:
        """An open session, closed at the end."""
        with self.client() as client:
            client.open(body)
            yield client

    def expect_bytes(self, actual: object, content: bytes) -> None:
        """What was read is this; zeros of the null executor."""
        wanted = content if self.computes else bytes(len(content))
        expect(actual == wanted, f"read {_shown(actual)} instead of {_shown(wanted)}")

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Whatever happens in the block, another session goes on, and the executor opens new ones."""
        with self.session() as bystander:
            bystander.run(commands.allocate(7, len(_STILL)), commands.write(7, _STILL))
            yield
            self.expect_bytes(bystander.read(7, len(_STILL)), _STILL)
        with self.client() as newcomer:
            epoch = newcomer.open().epoch
            expect(epoch == self.welcome.epoch, "the executor was started anew: another epoch")
            newcomer.synchronize()


def expect_refused(refused: RefusedError, code: Code) -> None:
    """With this code, and a reason for the user."""
    expect(refused.code is code, f"{refused}; instead of code {int(code)}")
    expect(bool(refused.reason.strip()), "a refusal without a reason")


@dataclass(frozen=True)
class _Entry:
    name: str
    check: Check
    samples: list[tuple[str, tuple[Any, ...]]]
    applies: Applies


class Checks:
    """The cases of one module, in their order.

    Args:
        name: of what they are about; ids begin with protocol/NAME/.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._entries: list[_Entry] = []

    def case(
        self,
        name: str,
        *,
        each: Mapping[str, Any] | None = None,
        applies: Applies = lambda _: True,
    ) -> Callable[[Check], Check]:
        """Makes a case of a function check(executor), or check(executor, value) for each value.

        Args:
            name: what it proves; never changes.
            each: values by their labels, a sample each; None for a single one.
            applies: whether an executor has the case: one that can't be produced isn't listed.
        """

        def added(check: Check) -> Check:
            samples: list[tuple[str, tuple[Any, ...]]] = [("", ())]
            if each is not None:
                samples = [(label, (value,)) for label, value in each.items()]
            self._entries.append(_Entry(name, check, samples, applies))
            return check

        return added

    def cases(self, executor: Executor) -> Iterator[Case]:
        """Those that the executor has."""
        for entry in self._entries:
            if entry.applies(executor):
                subject = f"protocol: {self._name.replace('_', ' ')}"
                yield Case(
                    f"protocol/{self._name}/{entry.name}",
                    Level.L0,
                    _runner(entry, executor),
                    subject,
                )


def computes(executor: Executor) -> bool:
    """For cases about what the null executor has not: storages, operators, results."""
    return executor.computes


def _runner(entry: _Entry, executor: Executor) -> Callable[[Recorder], None]:
    def run(recorder: Recorder) -> None:
        seeded = Executor(executor.endpoint, executor.welcome, recorder.seed)
        for label, values in entry.samples:
            with recorder.sample(label):
                entry.check(seeded, *values)

    return run


def _shown(content: object) -> str:
    if isinstance(content, bytes) and len(content) > 40:
        return f"{len(content)} bytes {content[:40].hex()}..."
    return content.hex() if isinstance(content, bytes) else str(content)
