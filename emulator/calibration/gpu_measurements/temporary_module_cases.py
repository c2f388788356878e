# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Backwards, recurrent layers, linear algebra and optimizers, for the section `temporaries`."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpu_measurements.calls import Call, Case, as_made, backward_of

HALF = torch.float16
FULL = torch.float32


def backward_cases(device: torch.device, is_tiny: bool) -> Iterator[Case]:
    rows, width = (8, 16) if is_tiny else (8192, 1024)
    images = (2, 4, 8, 8) if is_tiny else (32, 64, 56, 56)

    def leaf(*shape: int, dtype: torch.dtype = FULL) -> Tensor:
        return torch.ones(shape, device=device, dtype=dtype).requires_grad_()

    def normed(function: Callable[..., Tensor], x: Tensor, width: int) -> Call:
        weight, bias = leaf(width, dtype=x.dtype), leaf(width, dtype=x.dtype)
        return backward_of(function(x, weight, bias), x, weight, bias)

    def simple(function: Callable[[Tensor], Tensor], *shape: int) -> Call:
        x = leaf(*shape)
        return backward_of(function(x), x)

    channels = images[1]
    layer_norm = lambda x, w, b: functional.layer_norm(x, (width,), w, b)  # noqa: E731
    group_norm = lambda x, w, b: functional.group_norm(x, 4, w, b)  # noqa: E731
    batch_norm = lambda x, w, b: functional.batch_norm(x, None, None, w, b, True)  # noqa: E731
    labels = (torch.arange(rows) % width).to(device)
    made: dict[str, Callable[[], Call]] = {
        "layer_norm": lambda: normed(layer_norm, leaf(rows, width), width),
        "layer_norm(half)": lambda: normed(layer_norm, leaf(rows, width, dtype=HALF), width),
        "group_norm": lambda: normed(group_norm, leaf(*images), channels),
        "batch_norm": lambda: normed(batch_norm, leaf(*images), channels),
        "batch_norm(half)": lambda: normed(batch_norm, leaf(*images, dtype=HALF), channels),
        "softmax": lambda: simple(lambda x: torch.softmax(x, 1), rows, width),
        "cross_entropy": lambda: simple(lambda x: functional.cross_entropy(x, labels), rows, width),
        "max_pool2d": lambda: simple(lambda x: functional.max_pool2d(x, 3, 2, 1), *images),
        "avg_pool2d": lambda: simple(lambda x: functional.avg_pool2d(x, 2), *images),
        "adaptive_avg_pool2d": lambda: simple(
            lambda x: functional.adaptive_avg_pool2d(x, 7), *images
        ),
        "interpolate": lambda: simple(
            lambda x: functional.interpolate(x, scale_factor=2.0, mode="bilinear"), *images
        ),
        "gelu": lambda: simple(functional.gelu, rows, width),
        "cdist": lambda: simple(lambda x: torch.cdist(x, x), rows // 8, 64),
        "cumsum": lambda: simple(lambda x: x.cumsum(1), rows, width),
        "sum over broadcast": lambda: simple(lambda x: x.expand(8, -1, -1), rows, width),
        "pad(reflect)": lambda: simple(
            lambda x: functional.pad(x, (1, 1, 1, 1), "reflect"), *images
        ),
        "unfold": lambda: simple(lambda x: functional.unfold(x, 3, padding=1), *images),
    }
    for name, make in made.items():
        yield f"{name} backward", {"rows": rows, "width": width, "images": images}, make

    def recurrent(kind: type[nn.LSTM] | type[nn.GRU], backward: bool) -> Call:
        layer = kind(width, width, 2, device=device)
        x = leaf(35, 32, width)
        if backward:
            # cuDNN keeps no graph that could be walked twice; forward and backward are one call.
            return lambda: layer(x)[0].sum().backward()
        return lambda: layer(x)

    for kind in (nn.LSTM, nn.GRU):
        for backward in (False, True):
            yield (
                kind.__name__,
                {"width": width, "backward": backward},
                partial(recurrent, kind, backward),
            )


def linear_algebra_cases(device: torch.device, is_tiny: bool) -> Iterator[Case]:
    sizes: list[tuple[int, ...]] = [(8, 8)] if is_tiny else [(64, 64), (1024, 1024), (32, 64, 64)]
    for shape in sizes:
        for name, call in _linear_algebra_calls(device, shape).items():
            yield name, {"shape": shape}, partial(as_made, call)


def _linear_algebra_calls(device: torch.device, shape: tuple[int, ...]) -> dict[str, Call]:
    n = shape[-1]
    base = torch.sin(torch.arange(n * n, dtype=FULL).view(n, n) * 1.7)
    x = base.expand(shape).contiguous().to(device)
    symmetric = (x @ x.mT + n * torch.eye(n, device=device)).contiguous()
    return {
        "svd": lambda: torch.linalg.svd(x),
        "svdvals": lambda: torch.linalg.svdvals(x),
        "qr": lambda: torch.linalg.qr(x),
        "cholesky": lambda: torch.linalg.cholesky(symmetric),
        "eigh": lambda: torch.linalg.eigh(symmetric),
        "solve": lambda: torch.linalg.solve(symmetric, symmetric),
        "inv": lambda: torch.linalg.inv(symmetric),
        "lu_factor": lambda: torch.linalg.lu_factor(x),
        "det": lambda: torch.linalg.det(x),
        "slogdet": lambda: torch.linalg.slogdet(x),
        "lstsq": lambda: torch.linalg.lstsq(symmetric, symmetric),
        "solve_triangular": lambda: torch.linalg.solve_triangular(symmetric, symmetric, upper=True),
        "matrix_exp": lambda: torch.linalg.matrix_exp(x / x.shape[-1]),
        "fft": lambda: torch.fft.fft(x),
        "rfft2": lambda: torch.fft.rfft2(x),
        "ifft2": lambda: torch.fft.ifft2(x),
    }


def optimizer_cases(device: torch.device, is_tiny: bool) -> Iterator[Case]:
    width, count = (8, 3) if is_tiny else (512, 60)

    def made(kind: type[torch.optim.Optimizer], clip: bool, **options: Any) -> Call:
        parameters = [nn.Parameter(torch.ones(width, width, device=device)) for _ in range(count)]
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        if clip:
            return lambda: nn.utils.clip_grad_norm_(parameters, 1.0, **options)
        optimizer = kind(parameters, lr=1e-3, **options)  # type: ignore[call-arg]
        return optimizer.step

    modes: list[dict[str, Any]] = [{"foreach": True}, {"foreach": False}, {"fused": True}]
    for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        for options in modes:
            yield (
                kind.__name__,
                {**options, "tensors": count, "width": width},
                partial(made, kind, False, **options),
            )
    for options in modes[:2]:
        yield (
            "clip_grad_norm_",
            {**options, "tensors": count},
            partial(made, torch.optim.SGD, True, **options),
        )
