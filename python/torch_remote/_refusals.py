# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What PyTorch has for its own devices alone, refused for remote ones with a reason.

Most of it takes a tensor's address, where nothing of this process lies.
"""

import functools
import importlib
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch.multiprocessing import reductions
from torch.utils import _pytree as pytree

from torch_remote._names import is_remote


def install() -> None:
    """Makes it raise for remote tensors; others go the way they went."""
    _refuse_dlpack()
    _refuse_sharing()
    _refuse_data_parallel()


def _refuse_dlpack() -> None:
    """A capsule would hand out the tensor's id as if it were an address."""

    def refusing(export: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(export)
        def wrapper(tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
            if isinstance(tensor, torch.Tensor) and is_remote(tensor.device):
                raise BufferError(
                    f"a tensor on {tensor.device} has no memory in this process that DLPack could hand out; "
                    "use tensor.cpu()"
                )
            return export(tensor, *arguments, **options)

        return wrapper

    setattr(torch.Tensor, "__dlpack__", refusing(torch.Tensor.__dlpack__))  # noqa: B010 (mypy: a method)
    to_dlpack = refusing(torch.to_dlpack)
    for module in (torch, torch.utils.dlpack):
        setattr(module, "to_dlpack", to_dlpack)  # noqa: B010 (mypy: a module's function)


def _refuse_sharing() -> None:
    """Another process has another session, in which the tensor's id means nothing."""
    reducers: dict[type, Callable[[Any], Any]] = ForkingPickler._extra_reducers  # type: ignore[attr-defined]

    def refusing(share: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(share)
        def wrapper(shared: Any, *arguments: Any, **options: Any) -> Any:
            if is_remote(shared.device):
                raise RuntimeError(
                    f"a tensor on {shared.device} can't be sent to another process: it belongs to this one's "
                    "session; send tensor.cpu()"
                )
            return share(shared, *arguments, **options)

        return wrapper

    for kind in (torch.Tensor, torch.nn.Parameter, torch.UntypedStorage):
        ForkingPickler.register(kind, refusing(reducers.get(kind, reductions.reduce_tensor)))
    _storage_method("share_memory_", refusing(torch.UntypedStorage.share_memory_))
    _never_shared(torch.UntypedStorage.is_shared)


def _never_shared(is_shared: Callable[[Any], bool]) -> None:
    """PyTorch takes whatever is not on CPU for shared."""

    @functools.wraps(is_shared)
    def wrapper(storage: Any) -> bool:
        return not is_remote(storage.device) and is_shared(storage)

    _storage_method("is_shared", wrapper)


def _storage_method(name: str, method: Callable[..., Any]) -> None:
    setattr(torch.UntypedStorage, name, method)


def _refuse_data_parallel() -> None:
    """It copies models by functions of CUDA's, and would take the remote device for its own where torch has no CUDA."""
    module = importlib.import_module("torch.nn.parallel.data_parallel")
    available = getattr(module, "_get_available_device_type", None)
    if available is not None:

        def available_but_remote() -> str | None:
            kind: str | None = available()
            return None if kind == "remote" else kind

        setattr(module, "_get_available_device_type", available_but_remote)  # noqa: B010 (mypy: a function)
    make, call = torch.nn.DataParallel.__init__, torch.nn.parallel.data_parallel

    @functools.wraps(make)
    def refusing_make(self: Any, module: torch.nn.Module, *arguments: Any, **options: Any) -> None:
        _check_is_not_remote(module, [*arguments, *options.values()])
        make(self, module, *arguments, **options)

    @functools.wraps(call)
    def refusing_call(module: torch.nn.Module, *arguments: Any, **options: Any) -> Any:
        _check_is_not_remote(module, [*arguments[1:], *options.values()])
        return call(module, *arguments, **options)

    setattr(torch.nn.DataParallel, "__init__", refusing_make)  # noqa: B010 (mypy: a method)
    for owner in (torch.nn.parallel, module):
        setattr(owner, "data_parallel", refusing_call)  # noqa: B010 (mypy: a module's function)


def _check_is_not_remote(module: torch.nn.Module, options: Any) -> None:
    devices = [tensor.device for tensor in (*module.parameters(), *module.buffers())]
    named = [one for one in pytree.tree_leaves(options) if isinstance(one, torch.device | str)]
    if any(map(is_remote, devices)) or any(_names_remote(one) for one in named):
        raise NotImplementedError(
            "DataParallel copies a model to CUDA devices by functions of CUDA's, which remote devices don't have; "
            "keep the model on one remote device"
        )


def _names_remote(device: torch.device | str) -> bool:
    return is_remote(device) or str(device).split(":")[0] == "remote"
