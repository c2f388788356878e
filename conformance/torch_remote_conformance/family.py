# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Families whose cases are functions: of the target alone, or with one value of a table each time."""

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from torch_remote_conformance.case import Case, Level, Recorder
from torch_remote_conformance.comparing import EXACT, Comparison, assert_same
from torch_remote_conformance.sources import dtype_name
from torch_remote_conformance.target import Target

Check = Callable[..., None]
#: What a program makes on a device: tensors, numbers, or structures of them.
Program = Callable[[torch.device], Any]
Applies = Callable[[Target], bool]


@dataclass(frozen=True)
class _Entry:
    name: str
    run: Callable[[Recorder], None]
    applies: Applies


class Family:
    """Cases with one level, in the order in which they were added.

    Args:
        name: what their ids begin with.
        level: of all of them.
        applies: whether a target has them at all.
    """

    def __init__(self, name: str, level: Level, applies: Applies = lambda _: True) -> None:
        self._name = name
        self._level = level
        self._applies = applies
        self._entries: list[_Entry] = []

    def case(
        self, name: str, *, each: Iterable[Any] | None = None, applies: Applies = lambda _: True
    ) -> Callable[[Check], Check]:
        """Makes a case of a function check(target), or check(target, value) for each value.

        Every call is a sample: it starts from the run's seed, and what it has left undone or failed on
        the device belongs to it. A mapping's keys are the labels of its values.

        Args:
            name: of the case within the family; never changes.
            each: one sample each; None for a single one.
            applies: whether a target has the case: one that can't be produced isn't listed.
        """

        def added(check: Check) -> Check:
            samples = _labelled(each)

            def run(recorder: Recorder) -> None:
                for label, values in samples:
                    with recorder.sample(label), finished(recorder.target):
                        torch.manual_seed(recorder.seed)
                        check(recorder.target, *values)

            self._entries.append(_Entry(name, run, applies))
            return check

        return added

    def recorded(
        self, name: str, *, applies: Applies = lambda _: True
    ) -> Callable[[Callable[[Recorder], None]], Callable[[Recorder], None]]:
        """Makes a case of a function that counts its samples itself."""

        def added(run: Callable[[Recorder], None]) -> Callable[[Recorder], None]:
            self._entries.append(_Entry(name, run, applies))
            return run

        return added

    def compared(
        self, name: str, programs: Mapping[str, Program], *, applies: Applies = lambda _: True
    ) -> None:
        """Adds a case of programs that make the same on the target as on CPU, bit for bit."""
        self.case(name, each=programs, applies=applies)(assert_same_program)

    def refused(
        self, name: str, programs: Mapping[str, Program], *, applies: Applies = lambda _: True
    ) -> None:
        """Adds a case of programs that CPU refuses, and the target with the same kind of exception."""
        self.case(name, each=programs, applies=applies)(assert_refused_program)

    def cases(self, target: Target) -> Iterator[Case]:
        """Those that the target has."""
        if not self._applies(target):
            return
        for entry in self._entries:
            if entry.applies(target):
                subject = f"{self._name}: {entry.name.partition('/')[0].replace('_', ' ')}"
                yield Case(f"{self._name}/{entry.name}", self._level, entry.run, subject)


@contextlib.contextmanager
def finished(target: Target) -> Iterator[None]:
    """Waits at the end, also after an exception: failures of the device don't go to the next sample. No warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):
                target.synchronize()
            raise
        target.synchronize()


def assert_same_program(target: Target, program: Program, how: Comparison = EXACT) -> None:
    """Runs a program on CPU and on the target, and compares what it makes."""
    expected = program(torch.device("cpu"))
    assert_same(_plain(program(target.device)), _plain(expected), how)


def assert_refused_program(target: Target, program: Program) -> None:
    """Runs a program on CPU and on the target: both raise the same kind of exception."""
    try:
        program(torch.device("cpu"))
    except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError) as error:
        assert_refused(target, lambda: program(target.device), type(error), str(error))
        return
    raise AssertionError("CPU accepts it")


def assert_refused(
    target: Target,
    call: Callable[[], Any],
    kinds: type[Exception] | tuple[type[Exception], ...],
    why: str = "",
) -> Exception:
    """The exception of a call that has to raise one of these kinds, now or when it is waited for."""
    try:
        call()
        target.synchronize()
    except kinds as error:
        return error
    except Exception as error:
        raise AssertionError(
            f"{type(error).__name__}: {error}\ninstead of {kinds}: {why}"
        ) from error
    raise AssertionError(f"was not refused; expected was {kinds}: {why}")


def _plain(structure: Any) -> Any:
    """Shapes are tuples: as structures they are others in each version of PyTorch."""
    return pytree.tree_map(
        lambda leaf: tuple(leaf) if isinstance(leaf, torch.Size) else leaf,
        structure,
        is_leaf=lambda leaf: isinstance(leaf, torch.Size),
    )


def _labelled(each: Iterable[Any] | None) -> list[tuple[str, tuple[Any, ...]]]:
    if each is None:
        return [("", ())]
    if isinstance(each, Mapping):
        return [(str(label), (value,)) for label, value in each.items()]
    return [(_shown(value), (value,)) for value in each]


def _shown(value: Any) -> str:
    if isinstance(value, torch.dtype):
        return dtype_name(value)
    return ", ".join(map(_shown, value)) if isinstance(value, tuple) else str(value)
