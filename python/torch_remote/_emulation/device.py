# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Making a device that several GPUs look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from torch_remote._arguments import choice, thread_count
from torch_remote._devices import adopt
from torch_remote._gpus import GPU_TYPES, gpu_properties
from torch_remote._loading import ensure_loaded

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_device(
    gpus: Sequence[str],
    *,
    dry_run: bool,
    oom: Literal["raise", "record"] = "raise",
    on_read: Literal["raise", "zero"] = "raise",
    num_threads: int | None = None,
) -> torch.device:
    """As :func:`torch_remote.emulate`, for the first of several types; the others look on.

    Raises:
        ValueError: unknown GPU type, or another word for oom or on_read.
    """
    extension = ensure_loaded()
    types = [gpu_properties(gpu).type for gpu in gpus]
    threads = thread_count(torch.get_num_threads() if num_threads is None else num_threads)
    choice("oom", oom, ("raise", "record"))
    values = choice("on_read", on_read, ("raise", "zero")) if dry_run else "computed"
    index = extension.emulate(types, threads, torch.initial_seed(), values, oom == "record")
    return adopt(index)


def chosen_types(gpus: str | Sequence[str]) -> list[str]:
    """ "all", a list separated by commas, or a sequence; without repetitions.

    Raises:
        ValueError: unknown type, or none at all.
    """
    words = gpus.split(",") if isinstance(gpus, str) else list(gpus)
    if [word.strip().lower() for word in words] == ["all"]:
        return list(GPU_TYPES)
    types = list(dict.fromkeys(gpu_properties(word.strip()).type for word in words if word.strip()))
    if not types:
        raise ValueError(f'no GPU type given; "all", or some of {", ".join(GPU_TYPES)}')
    return types
