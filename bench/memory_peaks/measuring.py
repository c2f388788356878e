# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""An emulated GPU for one program: nothing is computed, and its memory may run over."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    ModelType = TypeVar("ModelType", bound=nn.Module)


@dataclass(frozen=True)
class Peaks:
    """Bytes, as torch.cuda's functions of these names tell them."""

    max_allocated: int
    max_reserved: int
    reserved: int


@contextmanager
def dry_gpu(gpu_type: str) -> Iterator[torch.device]:
    """One GPU of the type, gone afterwards. Values that the program reads are zeros."""
    gc.collect()
    device = torch_remote.emulate(gpu_type, dry_run=True, oom="record", on_read="zero")
    try:
        with torch.get_device_module(device).device(device):
            yield device
    finally:
        gc.collect()
        torch_remote.machine(device).stop()


def memory(device: torch.device) -> Any:
    """The functions that torch.cuda has for memory."""
    return torch.get_device_module(device)


def read_peaks(device: torch.device) -> Peaks:
    functions = memory(device)
    return Peaks(
        functions.max_memory_allocated(device),
        functions.max_memory_reserved(device),
        functions.memory_reserved(device),
    )


def error(emulated: float, real: float) -> float:
    """By how much more, as a share of the real figure."""
    return emulated / real - 1


def placed(
    make: Callable[[], ModelType], device: torch.device, dtype: torch.dtype | None = None
) -> ModelType:
    """A model whose weights come to lie on the device as by `.to(device)`, and were never made elsewhere.

    With a dtype, they have it before they are moved.
    """
    with torch.device("meta"):
        model = make()
    if dtype is not None:
        model.to(dtype)
    return model.to_empty(device=device)
