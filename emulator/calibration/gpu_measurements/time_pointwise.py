# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Items of the section `time`: elementwise operators, reductions, norms, indexing, optimizers."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpu_measurements.calls import Call, backward_of, dtype_name
from gpu_measurements.timing import Item

FULL, HALF, BRAIN, DOUBLE = torch.float32, torch.float16, torch.bfloat16, torch.float64

# Calls with one tensor x of n elements (and y like it).
ELEMENTWISE: dict[str, Callable[[Tensor, Tensor], object]] = {
    "add": lambda x, y: torch.add(x, y),
    "mul_": lambda x, _: x.mul_(1.0),
    "exp": lambda x, _: torch.exp(x),
    "gelu": lambda x, _: functional.gelu(x),
    "copy_": lambda x, y: x.copy_(y),
    "fill_": lambda x, _: x.fill_(1.0),
    "relu": lambda x, _: torch.relu(x),
    "add scalar": lambda x, _: x + 1,
    "compare": lambda x, y: x > y,
    "addcmul": lambda x, y: torch.addcmul(x, x, y),
    "pow": lambda x, _: torch.pow(x, 1.7),
    "where": lambda x, y: torch.where(x > 0, x, y),
    "tanh": lambda x, _: torch.tanh(x),
    "rand_like": lambda x, _: torch.rand_like(x),
    "randn_like": lambda x, _: torch.randn_like(x),
    "dropout": lambda x, _: functional.dropout(x, 0.1),
    "sum": lambda x, _: x.sum(),
    "to half": lambda x, _: x.to(HALF if x.dtype != HALF else FULL),
}
COLD = ("add", "copy_", "exp", "sum")


def elementwise_items(device: torch.device, is_tiny: bool) -> Iterator[Item]:
    exponents = [4, 10] if is_tiny else [10, 14, 18, 20, 22, 24, 26, 28]

    def pair(exponent: int, dtype: torch.dtype, call: Callable[[Tensor, Tensor], object]) -> Call:
        x = torch.randn(1 << exponent, device=device, dtype=dtype)
        y = torch.randn(1 << exponent, device=device, dtype=dtype)
        return lambda: call(x, y)

    def item(name: str, exponent: int, dtype: torch.dtype, is_cold: bool = False) -> Item:
        parameters = {"dtype": dtype_name(dtype), "n": 1 << exponent}
        return Item(name, parameters, partial(pair, exponent, dtype, ELEMENTWISE[name]), is_cold)

    for name in ELEMENTWISE:
        for exponent in exponents:
            yield item(name, exponent, FULL)
    for name in COLD:
        for exponent in (*exponents[:-1], 12, 16, 19, 21, 23):
            yield item(name, exponent, FULL, True)
    for dtype in (HALF, BRAIN, DOUBLE):
        for name in ("add", "exp", "gelu", "copy_", "sum", "dropout"):
            for exponent in exponents[:-1]:
                yield item(name, exponent, dtype)


def layout_items(device: torch.device, is_tiny: bool) -> Iterator[Item]:
    """Copies between layouts and dtypes, concatenation, broadcasting."""
    for n in [16] if is_tiny else [256, 1024, 4096, 8192]:
        for dtype in (FULL, HALF):

            def make(call: Callable[[Tensor], object], n: int, dtype: torch.dtype) -> Call:
                x = torch.randn(n, n, device=device, dtype=dtype)
                return lambda: call(x)

            for name, call in {
                "transposed copy": lambda x: x.t().contiguous(),
                "strided copy": lambda x: x[:, ::2].contiguous(),
                "permuted copy": lambda x: (
                    x.view(-1, 8, x.shape[1] // 8, 8).permute(2, 0, 3, 1).contiguous()
                ),
                "channels_last copy": lambda x: x.view(8, -1, x.shape[1] // 8, 8).contiguous(
                    memory_format=torch.channels_last
                ),
                "cat(0)": lambda x: torch.cat([x, x], 0),
                "cat(1)": lambda x: torch.cat([x, x, x], 1),
                "stack": lambda x: torch.stack([x, x]),
                "broadcast row add": lambda x: x + x[0],
                "broadcast column add": lambda x: x + x[:, :1],
                "transposed add": lambda x: x + x.t(),
                "tril": lambda x: torch.tril(x),
                "pad": lambda x: functional.pad(x, (1, 1)),
                "expand copy": lambda x: x[0].expand_as(x).contiguous(),
            }.items():
                parameters = {"dtype": dtype_name(dtype), "n": n}
                yield Item(name, parameters, partial(make, call, n, dtype))


def row_items(device: torch.device, is_tiny: bool) -> Iterator[Item]:
    """Operators over rows: reductions, softmax, norms and losses, forward and backward."""

    def rms_norm(x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[1],), torch.ones_like(x[0]))

    def layer_norm(x: Tensor) -> Tensor:
        one = torch.ones_like(x[0])
        return functional.layer_norm(x, (x.shape[1],), one, one)

    def cross_entropy(x: Tensor) -> Tensor:
        labels = torch.arange(x.shape[0], device=x.device) % x.shape[1]
        return functional.cross_entropy(x, labels)

    calls: dict[str, Callable[[Tensor], Any]] = {
        "softmax": lambda x: torch.softmax(x, 1),
        "layer_norm": layer_norm,
        "sum(1)": lambda x: x.sum(1),
        "sum(0)": lambda x: x.sum(0),
        "cross_entropy": cross_entropy,
        "rms_norm": rms_norm,
        "log_softmax": lambda x: torch.log_softmax(x, 1),
        "max(1)": lambda x: x.max(1)[0],
        "argmax(1)": lambda x: x.argmax(1),
        "var_mean(1)": lambda x: torch.var_mean(x, 1)[0],
        "mean()": lambda x: x.mean(),
        "cumsum(1)": lambda x: x.cumsum(1),
        "cumsum(0)": lambda x: x.cumsum(0),
        "norm": lambda x: torch.linalg.vector_norm(x),
        "sort(1)": lambda x: x.sort(1)[0],
        "topk(1)": lambda x: x.topk(8, 1)[0],
    }

    def make(
        call: Callable[[Tensor], Any], shape: tuple[int, int], dtype: torch.dtype, backward: bool
    ) -> Call:
        x = torch.randn(shape, device=device, dtype=dtype)
        if backward:
            x.requires_grad_()
            return backward_of(call(x), x)
        return lambda: call(x)

    shapes = (
        [(8, 16)]
        if is_tiny
        else [(8192, 768), (8192, 4096), (98304, 1024), (64, 1000), (4096, 50257), (16, 1 << 20)]
    )
    for name, call in calls.items():
        for shape in shapes:
            for dtype in (FULL, BRAIN):
                for backward in (False, True):
                    is_forward_only = name in ("argmax(1)", "sort(1)", "topk(1)", "norm")
                    if backward and (is_forward_only or dtype == BRAIN):
                        continue
                    parameters = {
                        "dtype": dtype_name(dtype),
                        "shape": shape,
                        "backward": backward,
                    }
                    yield Item(name, parameters, partial(make, call, shape, dtype, backward))


def image_items(device: torch.device, is_tiny: bool) -> Iterator[Item]:
    """Norms, pooling and resizing of images, forward and backward."""

    def batch_norm(x: Tensor) -> Tensor:
        one = torch.ones(x.shape[1], device=x.device)
        return functional.batch_norm(x, None, None, one, one, True)

    calls: dict[str, Callable[[Tensor], Tensor]] = {
        "batch_norm": batch_norm,
        "max_pool2d": lambda x: functional.max_pool2d(x, 3, 2, 1),
        "avg_pool2d": lambda x: functional.avg_pool2d(x, 2),
        "adaptive_avg_pool2d": lambda x: functional.adaptive_avg_pool2d(x, 1),
        "group_norm": lambda x: functional.group_norm(x, 4),
        "upsample nearest": lambda x: functional.interpolate(x, scale_factor=2.0),
        "upsample bilinear": lambda x: functional.interpolate(x, scale_factor=2.0, mode="bilinear"),
    }

    def make(
        call: Callable[[Tensor], Tensor],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        channels_last: bool,
        backward: bool,
    ) -> Call:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        x = torch.randn(shape, device=device, dtype=dtype).contiguous(memory_format=layout)
        if backward:
            x.requires_grad_()
            return backward_of(call(x), x)
        return lambda: call(x)

    shapes = [(2, 4, 8, 8)] if is_tiny else [(32, 64, 112, 112), (32, 256, 56, 56), (32, 512, 7, 7)]
    for name, call in calls.items():
        for shape in shapes:
            for dtype, channels_last in ((FULL, False), (HALF, True), (HALF, False)):
                for backward in (False, True):
                    parameters = {
                        "dtype": dtype_name(dtype),
                        "shape": shape,
                        "channels_last": channels_last,
                        "backward": backward,
                    }
                    yield Item(
                        name, parameters, partial(make, call, shape, dtype, channels_last, backward)
                    )


def indexing_items(device: torch.device, is_tiny: bool) -> Iterator[Item]:
    rows, width = (64, 8) if is_tiny else (50257, 768)
    calls: dict[str, Callable[[Tensor, Tensor, Tensor], object]] = {
        "embedding": lambda table, index, _: functional.embedding(index, table),
        "index_select": lambda table, index, _: table.index_select(0, index),
        "index": lambda table, index, _: table[index],
        "gather": lambda table, index, _: table.gather(
            0, index[:, None].expand(-1, table.shape[1])
        ),
        "index_add_": lambda table, index, source: table.index_add_(0, index, source),
        "scatter_add_": lambda table, index, source: table.scatter_add_(
            0, index[:, None].expand(-1, table.shape[1]), source
        ),
        "index_put_(accumulate)": lambda table, index, source: table.index_put_(
            (index,), source, accumulate=True
        ),
        "masked_fill": lambda table, _index, _source: table.masked_fill(table > 0, 0.0),
        "nonzero": lambda table, _index, _source: table.nonzero(),
    }

    def make(
        call: Callable[[Tensor, Tensor, Tensor], object], picks: int, dtype: torch.dtype
    ) -> Call:
        table = torch.randn(rows, width, device=device, dtype=dtype)
        index = torch.randint(rows, (picks,), device=device)
        source = torch.randn(picks, width, device=device, dtype=dtype)
        return lambda: call(table, index, source)

    def make_backward(picks: int) -> Call:
        table = torch.randn(rows, width, device=device, requires_grad=True)
        index = torch.randint(rows, (picks,), device=device)
        return backward_of(functional.embedding(index, table), table)

    all_picks = [16] if is_tiny else [32, 1024, 8192, 32768]
    for name, call in calls.items():
        for picks in all_picks[:1] if name in ("masked_fill", "nonzero") else all_picks:
            for dtype in (FULL, BRAIN):
                parameters = {"dtype": dtype_name(dtype), "rows": rows, "width": width}
                yield Item(name, {**parameters, "picks": picks}, partial(make, call, picks, dtype))
    for picks in all_picks:
        yield Item("embedding backward", {"picks": picks}, partial(make_backward, picks))
    for exponent in [4] if is_tiny else [10, 16, 20, 24]:
        n = 1 << exponent
        yield Item("sort", {"n": n}, partial(_on_random, device, n, lambda x: torch.sort(x)))
        yield Item("topk", {"n": n}, partial(_on_random, device, n, lambda x: torch.topk(x, 10)))
        yield Item("cumsum", {"n": n}, partial(_on_random, device, n, lambda x: x.cumsum(0)))
        yield Item(
            "unique", {"n": n}, partial(_on_random, device, n, lambda x: (x * 99).int().unique())
        )
        yield Item("randperm", {"n": n}, partial(_randperm, device, n))


def _randperm(device: torch.device, n: int) -> Call:
    return lambda: torch.randperm(n, device=device)


def _on_random(device: torch.device, n: int, call: Callable[[Tensor], object]) -> Call:
    x = torch.randn(n, device=device)
    return lambda: call(x)


def optimizer_items(device: torch.device, is_tiny: bool) -> Iterator[Item]:
    """Steps over about 25 million parameters in 150 tensors, half of them small, as models have them."""
    width, count = (8, 4) if is_tiny else (576, 150)

    def make(kind: type[torch.optim.Optimizer] | None, options: dict[str, Any]) -> Call:
        parameters = [
            nn.Parameter(torch.randn((width, width) if number % 2 else (width,), device=device))
            for number in range(count)
        ]
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        if kind is None:
            return lambda: nn.utils.clip_grad_norm_(parameters, 1.0, **options)
        return kind(parameters, lr=1e-3, **options).step  # type: ignore[call-arg]

    modes: list[dict[str, Any]] = [{"foreach": True}, {"fused": True}, {"foreach": False}]
    kinds: list[type[torch.optim.Optimizer]] = [
        torch.optim.Adam,
        torch.optim.AdamW,
        torch.optim.SGD,
    ]
    for options in modes:
        for kind in kinds:
            yield Item(kind.__name__, options, partial(make, kind, options))
    for options in (modes[0], modes[2]):
        yield Item("clip_grad_norm_", options, partial(make, None, options))
    for kind in (torch.optim.RMSprop, torch.optim.Adagrad):
        yield Item(kind.__name__, modes[0], partial(make, kind, modes[0]))
