# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What goes wrong on an emulated device, so that programs can test how they recover.

    from torch_remote import Faults, faults

    device = torch_remote.emulate("H100", faults=Faults(faults.Preemption(operation=(500, 900)), seed=3))

Places are counted from 1, from when emulate() returns, in the program's own order of commands: the same program
meets the same fault each time, on any machine. A place that is a pair of numbers is drawn between the two, from the
seed; `Faults.drawn()` tells what came out. Each fault happens once: give several to have it again.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch

from torch_remote._arguments import seconds, text, whole_number
from torch_remote._devices import device_index
from torch_remote._loading import ensure_loaded

__all__ = [
    "CutConnection",
    "ExecutorCrash",
    "Fault",
    "Faults",
    "OperatorFailure",
    "OutOfMemory",
    "Preemption",
    "SlowConnection",
    "happened",
]

#: A number from 1, or two of them between which one is drawn.
Place: TypeAlias = "int | tuple[int, int]"

_PLACE_MAX = 2**63 - 1
_ASKED_FOR = "a fault that was asked for, at"


@dataclass(frozen=True)
class OutOfMemory:
    """The program's so many-th allocation raises torch.OutOfMemoryError; the next one may succeed."""

    allocation: Place

    def __post_init__(self) -> None:
        _check_place("allocation", self.allocation)


@dataclass(frozen=True)
class OperatorFailure:
    """A call of an operator raises RuntimeError, and isn't executed.

    Args:
        operator: "aten::mm", or "mm" for short; all its overloads count. "" is every operator.
        call: its so many-th call.
        message: what is raised; default: CUDA's text for a kernel that failed.
    """

    operator: str = ""
    call: Place = 1
    message: str = ""

    def __post_init__(self) -> None:
        text("operator", self.operator, "aten::mm")
        text("message", self.message, "unspecified launch failure")
        _check_place("call", self.call)
        if self.operator and "::" not in self.operator:
            object.__setattr__(self, "operator", "aten::" + self.operator)
        if "." in self.operator:
            raise ValueError(
                f"operator is {self.operator!r}; leave out the overload: {self.operator.split('.')[0]!r}"
            )


@dataclass(frozen=True)
class Preemption:
    """The machine is taken away at the so many-th operation: it and all later ones raise RuntimeError."""

    operation: Place

    def __post_init__(self) -> None:
        _check_place("operation", self.operation)


@dataclass(frozen=True)
class ExecutorCrash:
    """The executor dies at the so many-th operation: it and all later ones raise RuntimeError."""

    operation: Place

    def __post_init__(self) -> None:
        _check_place("operation", self.operation)


@dataclass(frozen=True)
class CutConnection:
    """The connection breaks at the so many-th operation, and comes back.

    What was under way is sent again, so the program notices nothing but the time.
    """

    operation: Place
    duration_s: float = 0.1

    def __post_init__(self) -> None:
        _check_place("operation", self.operation)
        seconds("duration_s", self.duration_s)


@dataclass(frozen=True)
class SlowConnection:
    """Everything that the executor answers is so long under way, in seconds of real time."""

    reply_delay_s: float

    def __post_init__(self) -> None:
        seconds("reply_delay_s", self.reply_delay_s)


Fault: TypeAlias = (
    "OutOfMemory | OperatorFailure | Preemption | ExecutorCrash | CutConnection | SlowConnection"
)
_KINDS = (
    OutOfMemory,
    OperatorFailure,
    Preemption,
    ExecutorCrash,
    CutConnection,
    SlowConnection,
)
_PLACE_NAMES = ("allocation", "call", "operation")


@dataclass(frozen=True, init=False)
class Faults(Sequence[Fault]):
    """Faults and the seed by which places are drawn. Equal values give the same faults everywhere.

    Raises:
        TypeError: something that is no fault of this module.
        ValueError: a place or a time that can't be.
    """

    faults: tuple[Fault, ...]
    seed: int

    def __init__(self, *faults: Fault, seed: int = 0) -> None:
        for fault in faults:
            if not isinstance(fault, _KINDS):
                names = ", ".join(kind.__name__ for kind in _KINDS)
                raise TypeError(f"a fault is one of {names} of torch_remote.faults, not {fault!r}")
        object.__setattr__(self, "faults", faults)
        object.__setattr__(self, "seed", whole_number("seed", seed, 0, 2**64 - 1))

    def drawn(self) -> "Faults":
        """The same with all places fixed: what to write into a test that has found something."""
        source = random.Random(self.seed)
        return Faults(*(_drawn(fault, source) for fault in self.faults), seed=self.seed)

    def __len__(self) -> int:
        return len(self.faults)

    def __getitem__(self, index: Any) -> Any:
        return self.faults[index]

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.faults)

    def __repr__(self) -> str:
        return f"Faults({''.join(f'{fault!r}, ' for fault in self.faults)}seed={self.seed})"


def happened(device: torch.device | str | int | None = None) -> list[Fault]:
    """The faults that a device has met until now, in order, with their drawn places.

    Raises:
        ValueError: the device was made without faults.
    """
    index = device_index(device)
    counts: dict[str, Any] = ensure_loaded().fault_counts(index)
    placed = [
        fault for fault in _of_device[_serial(index)] if not isinstance(fault, SlowConnection)
    ]
    return [placed[which] for which in counts["happened"]]


# ---- for emulate() ----

# By the device's serial number: indices are used again.
_of_device: dict[int, Faults] = {}


class Planned:
    """Faults with the extension's object for them, which counts from start() on."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        rows = [_row(fault) for fault in faults if not isinstance(fault, SlowConnection)]
        delay_s = sum(fault.reply_delay_s for fault in faults if isinstance(fault, SlowConnection))
        self.plan = ensure_loaded().FaultPlan(rows, delay_s)

    def start(self, index: int) -> None:
        """The device of this index has them from now on."""
        _of_device[_serial(index)] = self._faults
        self.plan.start()


def plan(faults: "Faults | Fault | Sequence[Fault]", *, gpu_count: int, dry_run: bool) -> Planned:
    """What emulate() was given, with all places drawn.

    Raises:
        TypeError: it is no fault.
        ValueError: faults that this device can't have.
    """
    given = _checked(faults).drawn()
    if gpu_count != 1:
        raise ValueError("faults go with one GPU; make each of the devices by itself")
    for fault in given:
        if dry_run and isinstance(fault, CutConnection | SlowConnection):
            raise ValueError(f"a dry run has no connection for {fault!r}")
    return Planned(given)


def _checked(faults: "Faults | Fault | Sequence[Fault]") -> Faults:
    if isinstance(faults, Faults):
        return faults
    if isinstance(faults, _KINDS):
        return Faults(faults)
    if isinstance(faults, Sequence) and not isinstance(faults, str):
        return Faults(*faults)
    raise TypeError(
        f"faults has to be a torch_remote.Faults, a fault or a list of them, not {faults!r}"
    )


def _serial(index: int) -> int:
    return int(ensure_loaded().serial(index))


def _row(fault: Fault) -> tuple[str, int, str, str, float]:
    """Kind, place, operator, message, seconds (fault_bindings.cpp)."""
    if isinstance(fault, OutOfMemory):
        return "out of memory", _fixed(fault.allocation), "", "", 0.0
    if isinstance(fault, OperatorFailure):
        what = fault.operator or "an operator"
        message = fault.message or (
            f"CUDA error: unspecified launch failure ({_ASKED_FOR} call {fault.call} of {what})"
        )
        return "failure", _fixed(fault.call), fault.operator, message, 0.0
    if isinstance(fault, CutConnection):
        return "cut", _fixed(fault.operation), "", "", fault.duration_s
    assert isinstance(fault, Preemption | ExecutorCrash)
    what = "the machine was preempted" if isinstance(fault, Preemption) else "the executor crashed"
    return (
        "end",
        _fixed(fault.operation),
        "",
        f"{what} ({_ASKED_FOR} operation {fault.operation})",
        0.0,
    )


def _fixed(place: Place) -> int:
    assert isinstance(place, int)
    return place


def _drawn(fault: Fault, source: random.Random) -> Fault:
    for name in _PLACE_NAMES:
        place = getattr(fault, name, None)
        if isinstance(place, tuple):
            placed: dict[str, Any] = {name: source.randint(*place)}
            return replace(fault, **placed)
    return fault


def _check_place(name: str, place: Place) -> None:
    if not isinstance(place, tuple):
        whole_number(name, place, 1, _PLACE_MAX)
        return
    if len(place) != 2:
        raise ValueError(f"{name} is {place}; it has to be a number, or the least and the most")
    least = whole_number(name, place[0], 1, _PLACE_MAX)
    whole_number(name, place[1], least, _PLACE_MAX)
