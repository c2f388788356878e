# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""scaled_dot_product_attention under a given backend."""

from collections.abc import Callable

import torch
from torch.nn import attention as attention_module
from torch.nn import functional

BACKENDS = ("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "MATH", "default")


def attention(
    device: torch.device,
    dtype: torch.dtype,
    backend: str,
    shape: tuple[int, ...],
    causal: bool,
    backward: bool,
    key_length: int | None = None,
) -> Callable[[], object]:
    """The forward or backward for queries of shape (batch, heads, length, width); raises where a
    backend can't do it."""
    batch, heads, length, width = shape
    q = torch.randn(shape, device=device, dtype=dtype)
    k, v = (
        torch.randn(batch, heads, key_length or length, width, device=device, dtype=dtype)
        for _ in range(2)
    )
    if backward:
        for x in (q, k, v):
            x.requires_grad_()

    def forward() -> torch.Tensor:
        if backend == "default":
            return functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        choice = getattr(attention_module.SDPBackend, backend)
        with attention_module.sdpa_kernel([choice]):
            return functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    if not backward:
        return forward
    output = forward()
    gradient = torch.ones_like(output)
    return lambda: torch.autograd.grad(output, (q, k, v), gradient, retain_graph=True)
