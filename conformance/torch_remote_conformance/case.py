# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A case: one thing that a target has to be able to do; and what came of it."""

import contextlib
import enum
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from torch_remote_conformance.target import Target

#: Failures of one case that are kept with their text; all are counted.
_KEPT_FAILURES = 3
_KEPT_CHARACTERS = 2000


class Level(enum.IntEnum):
    """What is proven; each level has those below it as its foundation."""

    L0 = 0  #: protocol and handshake
    L1 = 1  #: memory, copies and views
    L2 = 2  #: inference operators
    L3 = 3  #: training: autograd, modules, optimizers
    L4 = 4  #: every operator in every dtype, mixed precision, random numbers
    L5 = 5  #: several devices, streams, faults


class Status(str, enum.Enum):
    """How a case ended. Only PASSED is a pass."""

    PASSED = "passed"
    FAILED = "failed"
    CRASHED = "crashed"  #: the process that ran it ended
    TIMED_OUT = "timed out"
    UNSUPPORTED = "unsupported"  #: failed, and a waiver says that it will never work
    EXPECTED_FAILURE = "expected failure"  #: failed, and a waiver says that it does so for now
    UNEXPECTED_PASS = "unexpected pass"  #: passed although a waiver says that it fails
    NOT_RUN = "not run"  #: the run was ended before

    @property
    def is_good(self) -> bool:
        """Whether a run with this case in it can succeed."""
        return self in (Status.PASSED, Status.UNSUPPORTED, Status.EXPECTED_FAILURE)


class Skip(Exception):  # noqa: N818 (as unittest's and pytest's)
    """Raised for a sample that says nothing about the target: its reference itself can't be computed."""


@dataclass(frozen=True)
class Failure:
    """A sample that failed: its number within the case, what it was, and why."""

    sample: int
    label: str
    message: str


class Recorder:
    """Counts the samples of one case and keeps their failures."""

    def __init__(self, target: Target, seed: int, only: int | None = None) -> None:
        """Args:
        target: what is tested.
        seed: of all random numbers.
        only: number of the one sample whose failure counts; None for all.
        """
        self.target = target
        self.seed = seed
        self._only = only
        self.samples = 0
        self.failed = 0
        self.failures: list[Failure] = []
        #: Source of a stand-alone program that shows the failure again, where the case itself knows one.
        self.script = ""

    @contextlib.contextmanager
    def sample(self, label: str = "") -> Iterator[None]:
        """One sample: whatever its block raises is a failure, and the next one goes on."""
        number = self.samples
        self.samples += 1
        try:
            yield
        except Skip:
            self.samples -= 1
        except Exception as error:  # noqa: BLE001 (a suite reports, whatever it is)
            self.fail(number, label, describe(error))

    def fail(self, sample: int, label: str, message: str) -> None:
        """A failure of a sample that has been counted."""
        if self._only not in (None, sample):
            return
        self.failed += 1
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(Failure(sample, label, message[:_KEPT_CHARACTERS]))


@dataclass(frozen=True)
class Case:
    """One thing that a target has to be able to do."""

    #: Family, subject and what about it, such as "op/linalg.svd/backward/float32". Never changes.
    id: str
    level: Level
    run: Callable[[Recorder], None]
    #: What the page groups by: the operator, module or optimizer.
    subject: str
    #: Source of a stand-alone program for a failed sample; None where running the case is the way.
    reproduce: Callable[[Target, int, int], str] | None = field(default=None, compare=False)


@dataclass
class Result:
    """What came of a case."""

    id: str
    level: int
    subject: str
    status: Status
    samples: int = 0
    failed: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    #: The waiver that applies, by its id pattern.
    waiver: str = ""
    script: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data; empty fields are left out."""
        made = asdict(self)
        made["status"] = self.status.value
        return {
            key: value for key, value in made.items() if value not in ("", [], 0) or key in _KEPT
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Result":
        """What as_json made.

        Raises:
            ValueError: the data is not such a result.
        """
        try:
            known = dict(data)
            known["status"] = Status(known["status"])
            known["failures"] = [Failure(**failure) for failure in known.get("failures", [])]
            return cls(**known)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a result of a case: {error}") from error


_KEPT = frozenset({"id", "level", "status", "samples"})


def describe(error: BaseException) -> str:
    """An exception as one text: its type and its message."""
    return f"{type(error).__name__}: {error}"
