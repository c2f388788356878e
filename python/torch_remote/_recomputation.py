# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Random numbers of recomputed activations in compiled graphs: the backward draws what the forward drew.

PyTorch's compiler does it with two operators that run another one and save, or set, the state of its
device's generator; they know the devices of PyTorch alone. Here they learn about remote ones.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch.utils import _pytree as pytree

from torch_remote._names import is_remote, remote_index


def adapt(rng_prims: ModuleType) -> None:
    """rng_prims: torch._prims.rng_prims, as soon as it is imported."""
    # They belong to PyTorch's compiler: without them, recomputing random numbers in a compiled graph raises.
    saving: Any = getattr(rng_prims, "run_and_save_rng_state", None)
    setting: Any = getattr(rng_prims, "run_with_rng_state", None)
    for operator, on_remote in ((saving, _run_and_save_state), (setting, _run_with_state)):
        if hasattr(operator, "py_kernels"):
            _replace(operator.py_kernels, torch._C.DispatchKey.BackendSelect, on_remote)
        if hasattr(operator, "_dispatch_cache"):
            operator._dispatch_cache.clear()  # a program may have called it before
    if hasattr(saving, "python_key_table"):
        from torch._subclasses.fake_tensor import FakeTensorMode

        _replace(saving.python_key_table, FakeTensorMode, _infer_and_save_state)


def _replace(table: dict[Any, Callable[..., Any]], key: Any, on_remote: Callable[..., Any]) -> None:
    others = table.get(key)
    if others is None:
        return

    def kernel(*arguments: Any, **options: Any) -> Any:
        device = _remote_device_of(arguments, options)
        if device is None:
            return others(*arguments, **options)
        return on_remote(device, *arguments, **options)

    table[key] = kernel


def _remote_device_of(arguments: Any, options: dict[str, Any]) -> torch.device | None:
    """The device that an operator computes on, if it is a remote one."""
    asked_for = options.get("device")
    devices = [torch.device(asked_for)] if asked_for is not None else []
    leaves = pytree.tree_leaves((arguments, options))
    devices += [leaf.device for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return next((device for device in devices if is_remote(device)), None)


def _index(device: torch.device) -> int:
    from torch_remote import remote

    index = remote_index(device)
    return remote.current_device() if index is None else index


def _run_and_save_state(
    device: torch.device, operator: Callable[..., Any], *arguments: Any, **options: Any
) -> tuple[torch.Tensor, Any]:
    from torch_remote import remote

    return remote.get_rng_state(_index(device)), operator(*arguments, **options)


def _infer_and_save_state(
    device: torch.device, mode: Any, operator: Callable[..., Any], *arguments: Any, **options: Any
) -> tuple[torch.Tensor, Any]:
    """Shapes alone: a state is bytes on CPU, whose number is the executor's matter."""
    from torch_remote._loading import ensure_loaded

    size = len(ensure_loaded().generator_state(_index(device)))
    with mode:
        return torch.empty(size, dtype=torch.uint8), operator(*arguments, **options)


def _run_with_state(
    device: torch.device,
    state: torch.Tensor,
    operator: Callable[..., Any],
    *arguments: Any,
    **options: Any,
) -> Any:
    from torch_remote import remote

    index = _index(device)
    before = remote.get_rng_state(index)
    remote.set_rng_state(state, index)
    try:
        return operator(*arguments, **options)
    finally:
        remote.set_rng_state(before, index)
