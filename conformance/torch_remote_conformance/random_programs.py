# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Random programs: lines of Python that are run on CPU and on a target, and compared after every line.

A program makes its tensors from numbers and names them x0, x1, ...; `device` is where it runs. It draws
no random numbers itself, so it does the same each time.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from hypothesis import strategies as st

from torch_remote_conformance.case import describe
from torch_remote_conformance.comparing import EXACT, Comparison, assert_same
from torch_remote_conformance.target import Target

Lines = tuple[str, ...]
Draw = Callable[[st.SearchStrategy[Any]], Any]
Option = TypeVar("Option")

#: More make the comparison after every line long; whichever is the oldest goes.
_LIVE_MAX = 7
#: Repeated sums and products would go on until nothing but infinity is left.
_ELEMENTS_MAX = 600
_LENGTHS = (30, 60, 120, 200)

_SCRIPT = '''\
"""A program that {name} computes otherwise than CPU: ends with the first line that differs."""

from torch_remote_conformance.random_programs import replay
from torch_remote_conformance.target import opened, provided

PROGRAM = """\\
{program}
"""

with provided({name!r}) as address, opened(address) as target:
    replay(PROGRAM.splitlines(), target, {how!r})
'''


class Writer:
    """A program that is being drawn, and what it has made on CPU so far."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._made = 0
        self.lines: list[str] = []
        self._names: dict[str, Any] = {"torch": torch, "device": torch.device("cpu")}

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Those that live, by their names."""
        return _tensors(self._names)

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor = self._names[name]
        return tensor

    def integer(self, least: int, most: int) -> int:
        """A number in a range; failures are made small towards the least."""
        number: int = self._draw(st.integers(least, most))
        return number

    def choice(self, options: Sequence[Option]) -> Option:
        """One of some; failures are made simple towards the first."""
        return options[self.integer(0, len(options) - 1)]

    def tensor(self, wanted: Callable[[torch.Tensor], bool] = lambda _: True) -> str:
        """The name of a live tensor.

        Raises:
            LookupError: there is none of this kind.
        """
        found = [name for name, tensor in self.tensors.items() if wanted(tensor)]
        if not found:
            raise LookupError
        return self.choice(found[::-1])

    def shape(self, dimensions_max: int = 4) -> tuple[int, ...]:
        """Sizes of a tensor, some of them empty."""
        sizes = (3, 1, 2, 4, 5, 7, 0)
        return tuple(self.choice(sizes) for _ in range(self.integer(0, dimensions_max)))

    def make(self, expression: str) -> None:
        """Adds a line that names a new tensor, unless CPU refuses it or it gets too large."""
        name = f"x{self._made}"
        if not self.add(f"{name} = {expression}"):
            return
        made = self._names[name]
        if made.numel() > _ELEMENTS_MAX or made.untyped_storage().nbytes() > 64 * _ELEMENTS_MAX:
            self.lines.pop()
            del self._names[name]
            return
        self._made += 1
        if len(self.tensors) > _LIVE_MAX:
            # Parameters stay: the gradients are theirs.
            old = [name for name, one in self.tensors.items() if not is_parameter(one)]
            self.add(f"del {(old or list(self.tensors))[0]}")

    def add(self, line: str, *, may_be_refused: bool = False) -> bool:
        """Adds a line and runs it; one that CPU refuses is left out, unless that is what it is for."""
        try:
            _run(line, self._names)
        except Exception:  # noqa: BLE001 (whatever it is, the program is one without it)
            if may_be_refused:
                self.lines.append(line)
            return False
        self.lines.append(line)
        return True


Step = Callable[[Writer], None]


def is_parameter(tensor: torch.Tensor) -> bool:
    """Whether gradients are added up in it."""
    return not _is_given_up(tensor) and tensor.is_leaf and tensor.requires_grad


@st.composite
def programs(
    draw: Draw,
    steps: Sequence[Step],
    start: Step,
    end: Step | None = None,
    lengths: Sequence[int] = _LENGTHS,
) -> Lines:
    """Programs of some steps.

    Args:
        draw: hypothesis'.
        steps: what one may do; a step that has no fitting tensor does nothing.
        start: makes the first tensors.
        end: what comes last.
        lengths: how many steps, the shortest first.
    """
    writer = Writer(draw)
    start(writer)
    # The simplest choice is to do nothing, so that failing programs become short.
    choices: list[Step] = [lambda _: None, *steps]
    for _ in range(writer.choice(lengths)):
        with contextlib.suppress(LookupError):
            writer.choice(choices)(writer)
    if end is not None:
        end(writer)
    return tuple(writer.lines)


def replay(lines: Sequence[str], target: Target, how: Comparison = EXACT) -> None:
    """Runs a program on CPU and on a target.

    Raises:
        AssertionError: the first line after which they differ, and in what; or at which only one raises.
        NameError: the program uses what it has not made.
    """
    local: dict[str, Any] = {"torch": torch, "device": torch.device("cpu")}
    remote: dict[str, Any] = {"torch": torch, "device": target.device}
    number = 0
    try:
        for number, line in enumerate(lines, 1):  # noqa: B007 (the error's)
            _compare_line(line, local, remote, target)
            _compare_tensors(_tensors(remote), _tensors(local), how)
    except AssertionError as error:
        raise AssertionError(f"line {number}: {lines[number - 1]}\n{error}") from error


def script(lines: Sequence[str], target: Target, how: Comparison) -> str:
    """A stand-alone program that shows a failure again."""
    return _SCRIPT.format(name=target.name, program="\n".join(lines), how=how).replace(
        "import replay", "import replay\nfrom torch_remote_conformance.comparing import Comparison"
    )


def shortened(lines: Lines, fails: Callable[[Lines], bool]) -> Lines:
    """The program without the lines that it fails without as well."""
    for index in reversed(range(len(lines))):
        without = (*lines[:index], *lines[index + 1 :])
        if fails(without):
            lines = without
    return lines


def _run(line: str, names: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(line, names)  # the lines are this package's own


def _tensors(names: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in names.items() if isinstance(value, torch.Tensor)}


def _compare_line(line: str, local: dict[str, Any], remote: dict[str, Any], target: Target) -> None:
    expected = _refusal(line, local)
    if isinstance(expected, NameError):
        raise expected
    actual = _refusal(line, remote)
    if actual is None:
        try:
            target.synchronize()
        except Exception as error:  # noqa: BLE001 (compared)
            actual = error
    if (actual is None) != (expected is None) or not isinstance(actual, type(expected)):
        told = [describe(one) if one else "no exception" for one in (actual, expected)]
        raise AssertionError(f"{told[0]}\ninstead of {told[1]}")


def _refusal(line: str, names: dict[str, Any]) -> Exception | None:
    try:
        _run(line, names)
    except Exception as error:  # noqa: BLE001 (compared)
        return error
    return None


def _compare_tensors(
    ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], how: Comparison
) -> None:
    assert list(ours) == list(theirs)
    for name, other in theirs.items():
        one = ours[name]
        told = _metadata(one), _metadata(other)
        assert told[0] == told[1], f"{name}: {told[0]} instead of {told[1]}"
        if _is_given_up(other):
            continue
        try:
            assert_same(one.detach(), other.detach(), how)
            assert_same(
                one.grad if one.is_leaf else None, other.grad if other.is_leaf else None, how
            )
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
    assert list(_sharing(ours.values())) == list(_sharing(theirs.values())), "other tensors share"
    if not how.exact:
        _take_over(ours, theirs)


def _metadata(tensor: torch.Tensor) -> dict[str, Any]:
    told = {
        "shape": tuple(tensor.shape),
        "dtype": tensor.dtype,
        "offset": tensor.storage_offset(),
        "contiguous": tensor.is_contiguous(),
        "version": tensor._version,
        "view": tensor._is_view(),
    }
    if _is_given_up(tensor):
        return told | {"given up": True}
    return told | {
        "requires_grad": tensor.requires_grad,
        "leaf": tensor.is_leaf,
        "function": type(tensor.grad_fn).__name__,
    }


def _is_given_up(tensor: torch.Tensor) -> bool:
    """Whether autograd lets nobody use it any more: a view whose base was changed."""
    try:
        tensor.grad_fn  # noqa: B018 (it raises)
    except RuntimeError:
        return True
    return False


def _sharing(tensors: Any) -> Iterator[int]:
    """For each tensor the number of the first that has its storage."""
    seen: dict[int, int] = {}
    for number, tensor in enumerate(tensors):
        yield seen.setdefault(tensor.untyped_storage()._cdata, number)


def _take_over(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> None:
    """Gives the target CPU's values: kernels that round otherwise would drift away from it."""
    for name, other in theirs.items():
        if other.requires_grad:
            continue  # the graph's own
        raw = torch.empty(0, dtype=torch.uint8).set_(other.untyped_storage())
        there = torch.empty(0, dtype=torch.uint8, device=ours[name].device)
        there.set_(ours[name].untyped_storage()).copy_(raw)
