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

from torch_remote._names import is_remote


def install() -> None:
    """Makes PyTorch's formatter take remote tensors' values from here; others go the way they went."""
    # PyTorch's own matter: without it, printing is slow and right.
    if hasattr(_tensor_str, "_tensor_str") and hasattr(_tensor_str, "printoptions"):
        _tensor_str._tensor_str = _reading_once(_tensor_str._tensor_str)


def _reading_once(format_values: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(format_values)
    def wrapper(self: torch.Tensor, *arguments: Any, **options: Any) -> str:
        if not is_remote(self.device):
            return format_values(self, *arguments, **options)
        if self.numel() <= _tensor_str.PRINT_OPTS.threshold:
            return format_values(self.detach().cpu(), *arguments, **options)
        local = _edges(self.detach(), _tensor_str.PRINT_OPTS.edgeitems).cpu()
        # What is left has few elements, but is to be printed as what it was taken from.
        with _tensor_str.printoptions(threshold=0):
            return format_values(local, *arguments, **options)

    return wrapper


def _edges(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """The first count + 1 and the last count of each dimension: enough that the middle is left out."""
    for dimension, size in enumerate(tensor.shape):
        if size > 2 * count:
            first = tensor.narrow(dimension, 0, count + 1)
            tensor = torch.cat([first, tensor.narrow(dimension, size - count, count)], dimension)
    return tensor
