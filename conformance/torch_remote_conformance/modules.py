# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of every module in PyTorch's own table: results, gradients of inputs and parameters, and moving it.

The levels: L3 has float32, L4 the other dtypes of the table.
"""

import copy
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from torch_remote_conformance import sources
from torch_remote_conformance.case import Case, Level, Recorder
from torch_remote_conformance.comparing import assert_same
from torch_remote_conformance.pairs import Pair, compare_gradients
from torch_remote_conformance.placing import tensors
from torch_remote_conformance.sources import Sample, reproducible
from torch_remote_conformance.target import Target


def cases(_: Target) -> Iterator[Case]:
    """The cases of all modules, in the table's order."""
    for info in sources.modules():
        name = _name(info)
        for dtype in sorted(info.dtypes, key=str):
            level = Level.L3 if dtype == torch.float32 else Level.L4
            for what, check in _checks(info).items():
                case_id = f"module/{name}/{what}/{sources.dtype_name(dtype)}"
                yield Case(case_id, level, functools.partial(check, info, dtype), name)
        if info.module_error_inputs_func is not None:
            run = functools.partial(_check_errors, info)
            yield Case(f"module/{name}/errors/float32", Level.L3, run, name)


@dataclass(frozen=True)
class _Call:
    """A module as an operator of its state and inputs."""

    name: str
    module: torch.nn.Module

    def __call__(self, state: dict[str, torch.Tensor], *inputs: Any, **keywords: Any) -> Any:
        return functional_call(self.module, state, inputs, keywords)


def _name(info: Any) -> str:
    return str(info.name)


def _checks(info: Any) -> dict[str, Callable[[Any, torch.dtype, Recorder], None]]:
    checks: dict[str, Callable[[Any, torch.dtype, Recorder], None]] = {
        "train": functools.partial(_check_call, training=True),
        "moved": _check_moved,
    }
    if info.train_and_eval_differ:
        checks["eval"] = functools.partial(_check_call, training=False)
    return checks


def _check_call(info: Any, dtype: torch.dtype, recorder: Recorder, *, training: bool) -> None:
    """Results and gradients, and what the call leaves in the module's buffers."""
    for label, module, positional, keywords in _made(info, dtype, recorder.seed, training=training):
        with recorder.sample(label):
            state = dict(module.named_parameters()) | dict(module.named_buffers())
            call = _Call(_name(info), module)
            pair = Pair(call, Sample((state, *positional), keywords, None), recorder)
            results = pair.compare(call)
            if results is not None:
                compare_gradients(pair, *results, pair.comparison(is_random=pair.is_random))


def _check_moved(info: Any, dtype: torch.dtype, recorder: Recorder) -> None:
    """A module that is moved keeps its state, there and back."""
    for label, module, _, _ in _made(info, dtype, recorder.seed, training=True):
        with recorder.sample(label):
            moved = copy.deepcopy(module).to(recorder.target.device)
            assert all(one.device == recorder.target.device for one in moved.parameters())
            assert_same(moved.state_dict(), module.state_dict())
            assert_same(copy.deepcopy(moved).cpu().state_dict(), module.state_dict())


def _check_errors(info: Any, recorder: Recorder) -> None:
    """What CPU refuses is refused, as the module is made or called, with the same kind of exception."""

    def call(made: tuple[Any, ...], options: dict[str, Any], *inputs: Any, **keywords: Any) -> Any:
        places = {one.device for one in tensors((inputs, keywords))}
        module: torch.nn.Module = info.module_cls(*made, **options)
        for place in places:
            module = module.to(place)
        return module(*inputs, **keywords)

    with reproducible(recorder.seed):
        refused = info.module_error_inputs_func(
            info, device="cpu", dtype=torch.float32, requires_grad=False, training=True
        )
    for one in refused:
        made = one.module_error_input.constructor_input
        called = one.module_error_input.forward_input
        inputs, keywords = (called.args, called.kwargs) if called is not None else ((), {})
        sample = Sample((made.args, made.kwargs, *inputs), dict(keywords), None)
        with recorder.sample(sample.label()):
            Pair(_Call(_name(info), torch.nn.Identity()), sample, recorder).compare(call)


def _made(
    info: Any, dtype: torch.dtype, seed: int, *, training: bool
) -> Iterator[tuple[str, torch.nn.Module, tuple[Any, ...], dict[str, Any]]]:
    """The table's modules on CPU, each with the arguments of its call; those without any are left out."""
    with reproducible(seed):
        inputs = info.module_inputs_func(
            info, device="cpu", dtype=dtype, requires_grad=True, training=training
        )
    for one in inputs:
        if one.forward_input is None:
            continue
        made, called = one.constructor_input, one.forward_input
        with reproducible(seed):
            module: torch.nn.Module = info.module_cls(*made.args, **made.kwargs)
            module = module.to(dtype).train(training)
            if any(map(is_lazy, (*module.parameters(), *module.buffers()))):
                module(*called.args, **called.kwargs)  # now they have shapes
        arguments = Sample((*made.args, "called with", *called.args), dict(called.kwargs), None)
        yield arguments.label(), module, tuple(called.args), dict(called.kwargs)
