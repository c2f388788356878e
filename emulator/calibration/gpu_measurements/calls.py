# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls that several sections make: what they are made of, and their types."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Call = Callable[[], object]
# An operator's name, its parameters, and what makes its tensors and returns the call.
Case = tuple[str, dict[str, Any], Callable[[], Call]]


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def backward_of(output: Tensor, *inputs: Tensor) -> Call:
    """The backward alone of a graph that is kept."""
    gradient = torch.ones_like(output)
    return lambda: torch.autograd.grad(output, inputs, gradient, retain_graph=True)


def as_made(call: Call) -> Call:
    """`make` of a call whose tensors are shared with others."""
    return call


def convolution(
    device: torch.device,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    channels_last: bool,
    backward: bool,
) -> Call:
    """The forward or the backward of a convolution of CONVOLUTIONS' terms."""
    batch, channels_in, channels_out, image, kernel, stride, groups = shape
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(batch, channels_in, image, image, device=device, dtype=dtype)
    weight = torch.randn(
        channels_out, channels_in // groups, kernel, kernel, device=device, dtype=dtype
    )
    x, weight = x.contiguous(memory_format=layout), weight.contiguous(memory_format=layout)
    if not backward:
        return lambda: functional.conv2d(x, weight, None, stride, kernel // 2, 1, groups)
    x.requires_grad_()
    weight.requires_grad_()
    return backward_of(
        functional.conv2d(x, weight, None, stride, kernel // 2, 1, groups), x, weight
    )
