# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Printing a tensor with one read.

PyTorch formats element by element, on the tensor's own device: a read each, which on a network would
take seconds.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import _tensor_str


def install() -> None:
    """Makes PyTorch's formatter take remote tensors' values from here; others go the way they went."""
    original: Callable[..., str] = _tensor_str._tensor_str

    @functools.wraps(original)
    def wrapper(self: torch.Tensor, *arguments: Any, **options: Any) -> str:
        if self.device.type != "remote":
            return original(self, *arguments, **options)
        if self.numel() <= _tensor_str.PRINT_OPTS.threshold:
            return original(self.detach().cpu(), *arguments, **options)
        local = _edges(self.detach(), _tensor_str.PRINT_OPTS.edgeitems).cpu()
        # What is left has few elements, but is to be printed as what it was taken from.
        with _tensor_str.printoptions(threshold=0):
            return original(local, *arguments, **options)

    _tensor_str._tensor_str = wrapper


def _edges(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """The first count + 1 and the last count of each dimension: enough that the middle is left out."""
    for dimension, size in enumerate(tensor.shape):
        if size > 2 * count:
            first = tensor.narrow(dimension, 0, count + 1)
            tensor = torch.cat([first, tensor.narrow(dimension, size - count, count)], dimension)
    return tensor
