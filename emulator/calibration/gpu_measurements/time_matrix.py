# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Items of the section `time`: matrix products, convolutions and attention."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from gpu_measurements.attention_backends import BACKENDS, attention
from gpu_measurements.calls import Call, convolution, dtype_name
from gpu_measurements.timing import Item

FULL, HALF, BRAIN, DOUBLE = torch.float32, torch.float16, torch.bfloat16, torch.float64
POWERS = [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384]
BETWEEN = [96, 192, 384, 768, 1000, 1536, 3072, 5120, 6144, 10240]
# m, n, k: of linear layers in training and inference, tall, wide and deep.
RECTANGLES = [
    (1, 4096, 4096),
    (8, 4096, 4096),
    (32, 4096, 11008),
    (128, 1024, 4096),
    (512, 768, 768),
    (2048, 768, 3072),
    (4096, 4096, 11008),
    (8192, 768, 2304),
    (8192, 3072, 768),
    (8192, 50257, 768),
    (65536, 64, 64),
    (64, 64, 65536),
    (16384, 256, 1024),
    (1, 50257, 768),
    (4096, 1000, 2048),
    (8192, 8192, 128),
    (128, 128, 8192),
]


def with_tf32(call: Call, allowed: bool) -> Call:
    """`call` with TF32 allowed or not, in matrix products and in cuDNN."""

    def switched() -> object:
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        before = matmul.allow_tf32, cudnn.allow_tf32
        matmul.allow_tf32, cudnn.allow_tf32 = allowed, allowed
        try:
            return call()
        finally:
            matmul.allow_tf32, cudnn.allow_tf32 = before

    return switched


def product(device: torch.device, kind: str, m: int, n: int, k: int, layout: str = "nn") -> Call:
    """An (m, k) by (k, n) product; `kind` is a dtype or tf32, `layout` says which sides are transposed."""
    dtype = FULL if kind == "tf32" else getattr(torch, kind)
    a = torch.randn((k, m) if layout[0] == "t" else (m, k), device=device, dtype=dtype)
    b = torch.randn((n, k) if layout[1] == "t" else (k, n), device=device, dtype=dtype)
    a, b = a.t() if layout[0] == "t" else a, b.t() if layout[1] == "t" else b
    call = lambda: torch.mm(a, b)  # noqa: E731
    return with_tf32(call, kind == "tf32") if dtype == FULL else call


def float8_product(device: torch.device, m: int, n: int, k: int) -> Call:
    a = torch.randn(m, k, device=device).to(torch.float8_e4m3fn)
    b = torch.randn(n, k, device=device).to(torch.float8_e4m3fn).t()
    one = torch.ones((), device=device)
    return lambda: torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=BRAIN)


def int8_product(device: torch.device, m: int, n: int, k: int) -> Call:
    a = torch.randint(-9, 9, (m, k), device=device, dtype=torch.int8)
    b = torch.randint(-9, 9, (n, k), device=device, dtype=torch.int8).t()
    return lambda: torch._int_mm(a, b)


def matrix_items(device: torch.device, is_tiny: bool) -> Iterator[Item]:
    kinds = ["float32", "bfloat16", "float16", "tf32", "float64"]
    powers = [16, 32] if is_tiny else POWERS
    for n in powers:
        for kind in kinds:
            yield Item(
                "mm", {"dtype": kind, "mnk": [n] * 3}, partial(product, device, kind, n, n, n)
            )
    for m, n, k in [(8, 8, 8)] if is_tiny else RECTANGLES:
        for kind in ("bfloat16", "float32", "tf32"):
            yield Item(
                "mm",
                {"dtype": kind, "mnk": [m, n, k], "layout": "nt"},
                partial(product, device, kind, m, n, k, "nt"),
            )
    for batch, m, n, k in (
        [(2, 8, 8, 8)]
        if is_tiny
        else [
            (96, 1024, 1024, 64),
            (96, 1024, 64, 1024),
            (32, 512, 512, 512),
            (256, 64, 64, 64),
            (16, 2048, 2048, 128),
            (2048, 32, 32, 32),
            (8, 1, 4096, 4096),
        ]
    ):
        for dtype in (HALF, BRAIN, FULL):
            yield Item(
                "bmm",
                {"dtype": dtype_name(dtype), "bmnk": [batch, m, n, k]},
                partial(_bmm, device, dtype, (batch, m, n, k)),
            )
    for rows, width, out in (
        [(8, 8, 8)]
        if is_tiny
        else [
            (64, 1024, 1024),
            (512, 784, 4096),
            (8192, 768, 3072),
            (2048, 4096, 4096),
            (64, 2048, 1000),
        ]
    ):
        for dtype in (FULL, BRAIN, HALF):
            yield Item(
                "linear",
                {"dtype": dtype_name(dtype), "mnk": [rows, out, width]},
                partial(_linear, device, dtype, rows, width, out),
            )
    for n in powers:
        yield Item(
            "_scaled_mm",
            {"dtype": "float8_e4m3fn", "mnk": [n] * 3},
            partial(float8_product, device, n, n, n),
        )
        yield Item(
            "_int_mm", {"dtype": "int8", "mnk": [n] * 3}, partial(int8_product, device, n, n, n)
        )
    for n in [] if is_tiny else BETWEEN:
        for kind in ("bfloat16", "float32", "tf32", "float16"):
            yield Item(
                "mm", {"dtype": kind, "mnk": [n] * 3}, partial(product, device, kind, n, n, n)
            )
    for layout in ("tn", "nt", "tt"):
        for kind in ("bfloat16", "float32"):
            n = powers[-3:][0]
            yield Item(
                "mm",
                {"dtype": kind, "mnk": [n] * 3, "layout": layout},
                partial(product, device, kind, n, n, n, layout),
            )


def _bmm(device: torch.device, dtype: torch.dtype, sizes: tuple[int, ...]) -> Call:
    batch, m, n, k = sizes
    a = torch.randn(batch, m, k, device=device, dtype=dtype)
    b = torch.randn(batch, k, n, device=device, dtype=dtype)
    return lambda: torch.bmm(a, b)


def _linear(device: torch.device, dtype: torch.dtype, rows: int, width: int, out: int) -> Call:
    x = torch.randn(rows, width, device=device, dtype=dtype)
    weight = torch.randn(out, width, device=device, dtype=dtype)
    bias = torch.randn(out, device=device, dtype=dtype)
    return lambda: functional.linear(x, weight, bias)


# batch, channels in, channels out, image, kernel, stride, groups: the layers of a ResNet-50 and a UNet
CONVOLUTIONS = [
    (32, 3, 64, 224, 7, 2, 1),
    (32, 64, 64, 56, 1, 1, 1),
    (32, 64, 64, 56, 3, 1, 1),
    (32, 64, 256, 56, 1, 1, 1),
    (32, 128, 128, 28, 3, 1, 1),
    (32, 256, 512, 28, 1, 2, 1),
    (32, 256, 256, 14, 3, 1, 1),
    (32, 512, 512, 7, 3, 1, 1),
    (32, 512, 2048, 7, 1, 1, 1),
    (4, 320, 320, 64, 3, 1, 1),
    (4, 640, 640, 32, 3, 1, 1),
    (4, 1280, 1280, 16, 3, 1, 1),
    (32, 96, 96, 56, 7, 1, 96),
    (1, 64, 64, 56, 3, 1, 1),
]


def convolution_items(device: torch.device, is_tiny: bool) -> Iterator[Item]:
    settings = [
        ("float16", HALF, True),
        ("tf32", FULL, False),
        ("bfloat16", BRAIN, True),
        ("float32", FULL, False),
        ("float16", HALF, False),
        ("tf32", FULL, True),
    ]
    for kind, dtype, channels_last in settings[:2] if is_tiny else settings:
        for shape in [(2, 3, 4, 8, 3, 1, 1)] if is_tiny else CONVOLUTIONS:
            for backward in (False, True):
                parameters = {
                    "dtype": kind,
                    "shape": shape,
                    "channels_last": channels_last,
                    "backward": backward,
                }
                make = partial(convolution, device, dtype, shape, channels_last, backward)
                yield Item("conv2d", parameters, partial(_switched, make, kind, dtype))


def _switched(make: Callable[[], Call], kind: str, dtype: torch.dtype) -> Call:
    return with_tf32(make(), kind == "tf32") if dtype == FULL else make()


# batch, heads, length, width
ATTENTIONS = [
    (8, 12, 1024, 64),
    (4, 16, 2048, 128),
    (32, 12, 384, 64),
    (1, 32, 4096, 128),
    (64, 6, 197, 64),
    (2, 12, 128, 64),
    (1, 8, 8192, 64),
    (1, 8, 16, 64),
]


def attention_items(device: torch.device, is_tiny: bool) -> Iterator[Item]:
    def item(
        backend: str,
        dtype: torch.dtype,
        shape: tuple[int, ...],
        causal: bool,
        backward: bool,
        keys: int | None = None,
    ) -> Item:
        parameters: dict[str, Any] = {
            "backend": backend,
            "dtype": dtype_name(dtype),
            "shape": shape,
            "causal": causal,
            "backward": backward,
            **({"key_length": keys} if keys else {}),
        }
        make = partial(attention, device, dtype, backend, shape, causal, backward, keys)
        return Item("attention", parameters, make)

    shapes = [(1, 2, 16, 16)] if is_tiny else ATTENTIONS
    for backend, dtypes in {
        "FLASH_ATTENTION": (BRAIN,),
        "EFFICIENT_ATTENTION": (FULL, HALF),
        "CUDNN_ATTENTION": (BRAIN,),
        "MATH": (FULL, BRAIN),
        "default": (BRAIN, FULL),
    }.items():
        assert backend in BACKENDS
        for shape in shapes:
            for dtype in dtypes:
                if backend == "MATH" and shape[2] > 4096:
                    continue
                for backward in (False, True):
                    for causal in (True,) if backward else (True, False):
                        yield item(backend, dtype, shape, causal, backward)
    if not is_tiny:
        for keys in (128, 1024, 8192):  # one new token of a text against a cache
            yield item("default", BRAIN, (8, 32, 1, 128), False, False, keys)
