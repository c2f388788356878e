# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What PyTorch would do with a tensor's address, refused: nothing in this process lies at a remote one's."""

import functools
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch.multiprocessing import reductions


def install() -> None:
    """Makes the exports by address raise for remote tensors; others go the way they went."""
    _refuse_dlpack()
    _refuse_sharing()


def _refuse_dlpack() -> None:
    """A capsule would hand out the tensor's id as if it were an address."""

    def refusing(export: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(export)
        def wrapper(tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
            if isinstance(tensor, torch.Tensor) and tensor.device.type == "remote":
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

    def refusing(reduce: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(reduce)
        def wrapper(shared: Any) -> Any:
            if shared.device.type == "remote":
                raise RuntimeError(
                    f"a tensor on {shared.device} can't be sent to another process: it belongs to this one's "
                    "session; send tensor.cpu()"
                )
            return reduce(shared)

        return wrapper

    for kind in (torch.Tensor, torch.nn.Parameter, torch.UntypedStorage):
        ForkingPickler.register(kind, refusing(reducers.get(kind, reductions.reduce_tensor)))
