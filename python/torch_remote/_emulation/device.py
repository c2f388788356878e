# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Making a device that several GPUs look at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import torch

from torch_remote._arguments import choice, thread_count
from torch_remote._devices import adopt
from torch_remote._gpus import GPU_TYPES, Gpu, find_gpu
from torch_remote._loading import ensure_loaded

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_device(
    gpus: Sequence[Gpu],
    *,
    dry_run: bool,
    oom: Literal["raise", "record"] = "raise",
    on_read: Literal["raise", "zero"] = "raise",
    num_threads: int | None = None,
) -> torch.device:
    """As :func:`torch_remote.emulate`, for the first of several GPUs; the others look on.

    Raises:
        ValueError: another word for oom or on_read.
    """
    extension = ensure_loaded()
    models = [gpu.model for gpu in gpus]
    threads = thread_count(torch.get_num_threads() if num_threads is None else num_threads)
    choice("oom", oom, ("raise", "record"))
    values = choice("on_read", on_read, ("raise", "zero")) if dry_run else "computed"
    index = extension.emulate(models, threads, torch.initial_seed(), values, oom == "record")
    return adopt(index)


def chosen_gpus(gpus: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Gpu]:
    """ "all", names and files separated by commas, or a sequence of them; without repetitions.

    Raises:
        ValueError: unknown type, none at all, or two under one name.
        FileNotFoundError: there is no such file.
    """
    if isinstance(gpus, os.PathLike):
        gpus = [gpus]
    words = gpus.split(",") if isinstance(gpus, str) else list(gpus)
    words = [word.strip() if isinstance(word, str) else word for word in words]
    chosen: dict[str, Gpu] = {}
    for word in words:
        for gpu in GPU_TYPES if str(word).lower() == "all" else [word] if word else []:
            found = find_gpu(gpu)
            if chosen.setdefault(found.type, found).argument != found.argument:
                raise ValueError(
                    f"{chosen[found.type].argument} and {found.argument} describe two GPUs of the name "
                    f"{found.type}; give one another type"
                )
    if not chosen:
        raise ValueError(f'no GPU type given; "all", or some of {", ".join(GPU_TYPES)}')
    return list(chosen.values())
