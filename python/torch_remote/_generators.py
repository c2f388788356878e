# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Copying and pickling generators: PyTorch asks for an offset, which only CUDA's have."""

import copyreg
from typing import Any

import torch

from torch_remote._names import is_remote


def install() -> None:
    """Makes copy.deepcopy and pickle take generators of a remote device; others go the way they went."""
    copyreg.pickle(torch.Generator, _reduce)


def _reduce(generator: torch.Generator) -> Any:
    if not is_remote(generator.device):
        return generator.__reduce_ex__(2)
    seed, state = generator.initial_seed(), generator.get_state()
    return _rebuild, (str(generator.device), seed, state)


def _rebuild(device: str, seed: int, state: torch.Tensor) -> torch.Generator:
    generator = torch.Generator(device).manual_seed(seed)
    generator.set_state(state)
    return generator
