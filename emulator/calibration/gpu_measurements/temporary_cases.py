# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls of operators that take scratch memory on CUDA, for the section `temporaries`.

Sizes for tests without a GPU are tiny.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpu_measurements.attention_backends import BACKENDS, attention
from gpu_measurements.calls import Call, Case, as_made, backward_of, convolution, dtype_name

HALF = torch.float16
FULL = torch.float32


def matrix_cases(device: torch.device, is_tiny: bool) -> Iterator[Case]:
    sizes = [16] if is_tiny else [64, 1024, 4096]
    for dtype in (FULL, HALF, torch.bfloat16, torch.float64):
        for n in sizes:
            yield "mm", {"n": n, "dtype": dtype_name(dtype)}, partial(_mm, device, dtype, n)
        yield (
            "bmm",
            {"n": sizes[-1] // 8, "dtype": dtype_name(dtype)},
            partial(_bmm, device, dtype, sizes[-1] // 8),
        )
        for bias in (False, True):
            yield (
                "linear",
                {"n": sizes[-1] // 4, "dtype": dtype_name(dtype), "bias": bias},
                partial(_linear, device, dtype, sizes[-1] // 4, bias),
            )


def _mm(device: torch.device, dtype: torch.dtype, n: int) -> Call:
    a = torch.ones(n, n, dtype=dtype, device=device)
    return lambda: a @ a


def _bmm(device: torch.device, dtype: torch.dtype, n: int) -> Call:
    a = torch.ones(8, n, n, dtype=dtype, device=device)
    return lambda: torch.bmm(a, a)


def _linear(device: torch.device, dtype: torch.dtype, n: int, bias: bool) -> Call:
    layer = nn.Linear(n, n, bias=bias, device=device, dtype=dtype)
    x = torch.ones(32, n, dtype=dtype, device=device)
    return lambda: functional.linear(x, layer.weight, layer.bias)


# batch, channels in, channels out, image, kernel, stride, groups
CONVOLUTIONS = [
    (64, 3, 64, 224, 7, 2, 1),
    (64, 64, 64, 56, 3, 1, 1),
    (64, 64, 256, 56, 1, 1, 1),
    (64, 128, 128, 28, 3, 1, 1),
    (64, 256, 512, 14, 3, 2, 1),
    (64, 512, 512, 7, 3, 1, 1),
    (8, 320, 320, 64, 3, 1, 1),
    (8, 640, 640, 32, 3, 1, 1),
    (32, 96, 96, 56, 7, 1, 96),
]


def convolution_cases(device: torch.device, is_tiny: bool) -> Iterator[Case]:
    shapes = [(2, 3, 4, 8, 3, 1, 1)] if is_tiny else CONVOLUTIONS
    for shape in shapes:
        for dtype in (FULL, HALF):
            for channels_last in (False, True):
                for backward in (False, True):
                    parameters = {
                        "shape": shape,
                        "dtype": dtype_name(dtype),
                        "channels_last": channels_last,
                        "backward": backward,
                    }
                    yield (
                        "conv2d",
                        parameters,
                        partial(convolution, device, dtype, shape, channels_last, backward),
                    )


def attention_cases(device: torch.device, is_tiny: bool) -> Iterator[Case]:
    shapes = (
        [(1, 2, 16, 16)] if is_tiny else [(8, 12, 1024, 64), (2, 16, 2048, 128), (4, 8, 300, 80)]
    )
    for backend in BACKENDS:
        for shape in shapes:
            for dtype in (HALF, FULL):
                for causal in (False, True):
                    for backward in (False, True):
                        parameters = {
                            "backend": backend,
                            "shape": shape,
                            "dtype": dtype_name(dtype),
                            "causal": causal,
                            "backward": backward,
                        }
                        yield (
                            "attention",
                            parameters,
                            partial(attention, device, dtype, backend, shape, causal, backward),
                        )


def sorting_cases(device: torch.device, is_tiny: bool) -> Iterator[Case]:
    for n in [64] if is_tiny else [1000, 100_000, 1 << 22]:
        for name, call in _sorting_calls(device, n).items():
            yield name, {"n": n}, partial(as_made, call)


def _sorting_calls(device: torch.device, n: int) -> dict[str, Call]:
    floats = torch.linspace(-1, 1, n).to(device).mul(977).sin()
    flags = floats > 0
    integers = (floats * 1000).long()
    return {
        "sort": lambda: torch.sort(floats),
        "sort(stable,int64)": lambda: torch.sort(integers, stable=True),
        "argsort(rows)": lambda: torch.argsort(floats.view(-1, 8), dim=0),
        "topk(10)": lambda: torch.topk(floats, 10),
        "topk(10,rows)": lambda: torch.topk(floats.view(8, -1), 8),
        "kthvalue": lambda: torch.kthvalue(floats, 3),
        "median": lambda: torch.median(floats),
        "unique": lambda: torch.unique(integers),
        "unique(inverse,counts)": lambda: torch.unique(
            integers, return_inverse=True, return_counts=True
        ),
        "unique_consecutive": lambda: torch.unique_consecutive(integers),
        "cumsum": lambda: torch.cumsum(floats, 0),
        "cumsum(rows)": lambda: torch.cumsum(floats.view(8, -1), 0),
        "cummax": lambda: torch.cummax(floats, 0),
        "logcumsumexp": lambda: torch.logcumsumexp(floats, 0),
        "nonzero": lambda: torch.nonzero(flags),
        "masked_select": lambda: torch.masked_select(floats, flags),
        "boolean index": lambda: floats[flags],
        "bincount": lambda: torch.bincount(integers.abs(), minlength=1024),
        "histc": lambda: torch.histc(floats, 100),
        "searchsorted": lambda: torch.searchsorted(floats, floats),
        "randperm": lambda: torch.randperm(n, device=device),
        "multinomial(1)": lambda: torch.multinomial(floats.abs(), 1),
        "multinomial(100,replacement)": lambda: torch.multinomial(floats.abs(), 100, True),
        "isin": lambda: torch.isin(integers, integers[:100]),
        "flip": lambda: floats.flip(0),
        "roll": lambda: floats.roll(5),
    }


def indexing_cases(device: torch.device, is_tiny: bool) -> Iterator[Case]:
    rows, width, picks = (32, 8, 16) if is_tiny else (50257, 768, 8192)
    table = torch.ones(rows, width, device=device)
    index = (torch.arange(picks) * 7919 % rows).to(device)
    source = torch.ones(picks, width, device=device)
    wide = index[:, None].expand(-1, width)
    weight = table.clone().requires_grad_()
    calls: dict[str, Call] = {
        "index_select": lambda: table.index_select(0, index),
        "index": lambda: table[index],
        "gather": lambda: table.gather(0, wide),
        "index_put(accumulate)": lambda: table.index_put((index,), source, accumulate=True),
        "index_put_(accumulate)": lambda: table.index_put_((index,), source, accumulate=True),
        "index_put_": lambda: table.index_put_((index,), source),
        "index_add_": lambda: table.index_add_(0, index, source),
        "scatter_add_": lambda: table.scatter_add_(0, wide, source),
        "scatter_reduce_": lambda: table.scatter_reduce_(0, wide, source, "amax"),
        "take": lambda: table.take(index),
        "repeat_interleave": lambda: source.repeat_interleave(2, 0),
        "repeat_interleave(tensor)": lambda: torch.repeat_interleave(index % 5),
        "one_hot": lambda: functional.one_hot(index % 100, 100),
    }
    for name, call in calls.items():
        yield name, {"rows": rows, "width": width, "picks": picks}, partial(as_made, call)
    for picks_used in (picks, picks // 4, 32):
        yield (
            "embedding backward",
            {"picks": picks_used},
            partial(_embedding_backward, index[:picks_used], weight),
        )
    yield (
        "segment_reduce",
        {"rows": picks},
        lambda: (
            lambda: torch.segment_reduce(
                source, "sum", lengths=torch.full((picks // 8,), 8, device=device)
            )
        ),
    )


def _embedding_backward(index: Tensor, weight: Tensor) -> Call:
    return backward_of(functional.embedding(index, weight), weight)


def reduction_cases(device: torch.device, is_tiny: bool) -> Iterator[Case]:
    sizes = [(8, 16)] if is_tiny else [(1 << 24, 1), (4096, 4096), (16, 1 << 20), (1 << 20, 16)]
    for shape in sizes:
        for name, call in _reduction_calls(device, shape).items():
            yield name, {"shape": shape}, partial(as_made, call)


def _reduction_calls(device: torch.device, shape: tuple[int, ...]) -> dict[str, Call]:
    x = torch.ones(shape, device=device)
    return {
        "sum": lambda: x.sum(),
        "sum(0)": lambda: x.sum(0),
        "sum(1)": lambda: x.sum(1),
        "mean": lambda: x.mean(),
        "var(1)": lambda: x.var(1),
        "std": lambda: x.std(),
        "argmax": lambda: x.argmax(),
        "max(1)": lambda: x.max(1),
        "norm": lambda: torch.linalg.vector_norm(x),
        "softmax(1)": lambda: torch.softmax(x, 1),
        "log_softmax(1)": lambda: torch.log_softmax(x, 1),
        "logsumexp(1)": lambda: torch.logsumexp(x, 1),
        "half sum": lambda: x.half().sum(),
        "all": lambda: (x > 0).all(),
        "equal": lambda: torch.equal(x, x),
        "allclose": lambda: torch.allclose(x, x),
        "isfinite.all": lambda: x.isfinite().all(),
    }
