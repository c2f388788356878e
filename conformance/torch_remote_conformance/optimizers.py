# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases of every optimizer in PyTorch's own table: parameters and state after each of some steps."""

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from torch_remote_conformance import sources
from torch_remote_conformance.case import Case, Level, Recorder, describe
from torch_remote_conformance.comparing import CLASS_FACTORS, Comparison, assert_same
from torch_remote_conformance.placing import placed
from torch_remote_conformance.sources import reproducible
from torch_remote_conformance.target import Target

_SHAPES = ((5, 4), (4,), (2, 3, 3), ())
_STEPS = 3
_FLAT = "parameters in one buffer"
#: Each has other kernels: loops over tensors, operators on lists of them, and one operator for all.
_IMPLEMENTATIONS: dict[str, dict[str, bool]] = {
    "for_loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}


def cases(_: Target) -> Iterator[Case]:
    """The cases of all optimizers, in the table's order."""
    for info in sources.optimizers():
        name = info.optim_cls.__name__
        for implementation in _IMPLEMENTATIONS:
            if implementation == "for_loop" or _has(info, implementation):
                run = functools.partial(_check, info, implementation)
                yield Case(f"optimizer/{name}/{implementation}/float32", Level.L3, run, name)
        run = functools.partial(_check_errors, info)
        yield Case(f"optimizer/{name}/errors/float32", Level.L3, run, name)


def _has(info: Any, implementation: str) -> bool:
    if implementation == "fused" and "cpu" not in info.supports_fused_on:
        return False
    return implementation in info.supported_impls


def _check(info: Any, implementation: str, recorder: Recorder) -> None:
    """All of the table's arguments: parameters and state after each step."""
    target = recorder.target
    how = Comparison(target.computes_as_cpu, CLASS_FACTORS["reduction"])
    inputs = [(one.desc, dict(one.kwargs)) for one in info.optim_inputs_func(device="cpu")]
    if implementation == "fused":
        inputs.append(("a tensor as learning rate", {"lr": torch.tensor(0.01)}))
    inputs.append((_FLAT, {}))
    for description, given in inputs:
        keywords = dict(given)
        if implementation == "for_loop" and "foreach" in info.supported_impls:
            keywords |= _IMPLEMENTATIONS["for_loop"]
        elif implementation != "for_loop":
            keywords = {k: v for k, v in keywords.items() if k not in ("foreach", "fused")}
            keywords |= _IMPLEMENTATIONS[implementation]
        with recorder.sample(f"{description}: {keywords}"):
            is_flat = description == _FLAT
            expected, actual = (
                _trained(info, keywords, device, recorder.seed, is_flat=is_flat)
                for device in (torch.device("cpu"), target.device)
            )
            target.synchronize()
            if isinstance(expected, Exception) or isinstance(actual, Exception):
                _compare_refusals(actual, expected)
            else:
                assert_same(actual, expected, how)


def _check_errors(info: Any, recorder: Recorder) -> None:
    """What CPU refuses is refused, as the optimizer is made or at its step, with the same kind of exception."""
    for one in info.optim_error_inputs_func("cpu", torch.float32):
        taken = one.optimizer_error_input
        with recorder.sample(f"{taken.desc}: {taken.kwargs}"):
            expected, actual = (
                _refusal(info, *placed((taken.params, dict(taken.kwargs)), device))
                for device in (torch.device("cpu"), recorder.target.device)
            )
            _compare_refusals(actual, expected)


def _refusal(info: Any, parameters: Any, keywords: dict[str, Any]) -> Exception | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer = info.optim_cls(parameters, **keywords)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    except Exception as error:  # noqa: BLE001 (it is what is compared)
        return error
    return None


def _compare_refusals(actual: Any, expected: Any) -> None:
    if type(actual) is not type(expected):
        told = [
            describe(one) if isinstance(one, Exception) else "trained" for one in (actual, expected)
        ]
        raise AssertionError(f"{told[0]} instead of {told[1]}")


def _trained(
    info: Any, keywords: dict[str, Any], device: torch.device, seed: int, *, is_flat: bool
) -> Any:
    """Copies of parameters and state after each step; or what was refused."""
    with reproducible(seed):
        starts = [torch.randn(shape) for shape in _SHAPES]
        gradients = [[torch.randn(shape) for shape in _SHAPES] for _ in range(_STEPS)]
    if info.only_supports_sparse_grads:
        starts, gradients = starts[:1], [step[:1] for step in gradients]
    placed = _flat(starts, device) if is_flat else [start.to(device) for start in starts]
    parameters = [torch.nn.Parameter(one) for one in placed]
    try:
        optimizer = info.optim_cls(parameters, **keywords)
        return [_step(info, optimizer, parameters, step) for step in gradients]
    except (RuntimeError, TypeError, ValueError) as error:
        return error


def _flat(tensors: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Copies that lie behind each other in one storage."""
    whole = torch.cat([one.reshape(-1) for one in tensors]).to(device)
    parts = whole.split([one.numel() for one in tensors])
    return [part.view(one.shape) for part, one in zip(parts, tensors, strict=True)]


def _step(
    info: Any,
    optimizer: torch.optim.Optimizer,
    parameters: list[torch.nn.Parameter],
    gradients: list[torch.Tensor],
) -> Any:
    def closure() -> float:
        optimizer.zero_grad()
        loss = torch.stack([(one**2).sum() for one in parameters]).sum()
        loss.backward()
        return loss.item()

    for parameter, gradient in zip(parameters, gradients, strict=True):
        placed = gradient.to(parameter.device)
        parameter.grad = placed.to_sparse() if info.only_supports_sparse_grads else placed
    if info.step_requires_closure:
        optimizer.step(closure)
    else:
        optimizer.step()
    state = optimizer.state_dict()["state"]
    # The parameters themselves are read, and copies of the state.
    read = [parameter.detach().to("cpu", copy=True) for parameter in parameters]
    return [read, _copied(state)]


def _copied(structure: Any) -> Any:
    return torch.utils._pytree.tree_map_only(
        torch.Tensor, lambda one: one.detach().clone(), structure
    )
