# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finding a program's steps, and how many samples each has, without its help.

A step ends where the first optimizer that steps has stepped; the first begins where a module is
called for the first time with gradients enabled. Its samples are the first dimension of the first
tensor that the outermost module is given, all its calls with gradients within the step together.
Whoever marks steps by torch_remote.step() says it better, and is believed instead.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from torch_remote._devices import device_index
from torch_remote._loading import ensure_loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The finder of the program that is being compared, if one is.
_watching: StepFinder | None = None


def step(device: torch.device | str | int | None = None) -> None:
    """Says that a step ends here, for what is emulated; elsewhere it does nothing.

    The first call says where the first step begins. A program without an optimizer, or whose steps
    are something else than optimizer.step(), calls it in its loop.

    Raises:
        ValueError: no such device.
    """
    if _watching is not None:
        _watching.mark_by_program()
        return
    if device is None and not ensure_loaded().device_count():
        return
    index = device_index(device)
    if ensure_loaded().is_emulated(index):
        ensure_loaded().mark_step(index)


class StepFinder:
    """Marks the steps of one device while a program runs."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._by_program = False
        self._optimizer: Optimizer | None = None
        self._optimizer_steps = 0
        self._module: Any = None
        self._samples = 0  # of the steps that have ended
        self._samples_under_way = 0
        self._marks = 0

    @property
    def found(self) -> str:
        """How steps were found; empty where there is none."""
        if self._by_program:
            return "torch_remote.step()"
        return "optimizer.step()" if self._optimizer_steps else ""

    @property
    def samples(self) -> int | None:
        """Of one step, rounded; None where they aren't known."""
        steps = self._marks - 1
        return round(self._samples / steps) if steps > 0 and self._samples else None

    @property
    def samples_found(self) -> str:
        """How; empty where they aren't known."""
        if self.samples is None:
            return ""
        return f"the first dimension of what {type(self._module).__name__} is given"

    def mark_by_program(self) -> None:
        """The program says where its steps end."""
        if not self._by_program:
            # What was marked for it so far was a guess.
            ensure_loaded().clear_steps(self._index)
            self._by_program, self._marks = True, 0
        self._mark()

    def end_of_optimizer_step(self, optimizer: Optimizer, *_: Any) -> None:
        """PyTorch's hook after any optimizer's step."""
        if self._by_program:
            return
        if self._optimizer is None:
            self._optimizer = optimizer
        if optimizer is not self._optimizer:
            return
        self._optimizer_steps += 1
        self._mark()

    def before_module(self, module: Any, inputs: Any) -> None:
        """An outermost module is called."""
        if not torch.is_grad_enabled() and not self._by_program:
            return
        if self._module is None:
            self._module = module
        if module is not self._module:
            return
        if not self._marks and not self._by_program:
            self._mark()
        self._samples_under_way += _first_dimension(inputs)

    def _mark(self) -> None:
        self._samples = self._samples + self._samples_under_way if self._marks else 0
        self._samples_under_way = 0
        self._marks += 1
        ensure_loaded().mark_step(self._index)


def _first_dimension(inputs: Any) -> int:
    """Of the first tensor in what a module is given; 0 where there is none."""
    if isinstance(inputs, torch.Tensor):
        return int(inputs.shape[0]) if inputs.dim() else 0
    values = inputs.values() if isinstance(inputs, dict) else inputs
    if not isinstance(inputs, (dict, list, tuple)):
        return 0
    return next((found for value in values if (found := _first_dimension(value))), 0)


@contextlib.contextmanager
def finding_steps(index: int) -> Iterator[StepFinder]:
    """While it lasts, optimizers and modules tell the finder."""
    global _watching
    finder = StepFinder(index)
    handle = register_optimizer_step_post_hook(finder.end_of_optimizer_step)
    before, _watching = _watching, finder
    try:
        with _outermost_modules(finder.before_module):
            yield finder
    finally:
        handle.remove()
        _watching = before


@contextlib.contextmanager
def _outermost_modules(tell: Callable[[Any, Any], None]) -> Iterator[None]:
    """Calls tell(module, inputs) for modules that are called within no other.

    PyTorch's hooks for all modules don't see what is given by name, as transformers' inputs are.
    """
    original = torch.nn.Module._call_impl
    depth = 0

    @functools.wraps(original)
    def call(self: torch.nn.Module, *arguments: Any, **named: Any) -> Any:
        nonlocal depth
        if depth == 0:
            tell(self, (*arguments, *named.values()))
        depth += 1
        try:
            return original(self, *arguments, **named)  # type: ignore[no-untyped-call, unused-ignore]
        finally:
            depth -= 1

    torch.nn.Module._call_impl = call  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.nn.Module._call_impl = original  # type: ignore[method-assign]
